"""What the accuracy benchmarks share: a specification goes in, a row comes out.

A specification is a dict with `wbits`, `abits`, `seed`, `recipe`, and `changes` to the recipe; `images` is 'synthetic'
or, for upper bounds only, the path of real training images. Image sets are made once and kept in a cache folder; rows
already in the result file are kept, so a stopped command continues. Each process uses one thread, one process per
core."""
import hashlib, inspect, json, math, os, sys, time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from datetime import timedelta
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
import fastai, torch, torchvision
from fastai.torch_core import default_device
from synq_nb import quantize as quantize_module
from synq_nb.all import *
from synq_nb.core import machine as here
from synq_nb.quantize import NARROWEST, PACE
from synq_nb.recipes import _SGD
from trials import TRIALS, HalfAgainst, add_trials, clip, equalise, lit, renormalise, staged, with_leaves

RESULTS = Path(__file__).parent/'results'
VERSIONS = {m.__name__: m.__version__ for m in (torch, torchvision, fastai)} | {'python': sys.version.split()[0]}
OURS = 'subset', 'noise', 'pace', 'narrowest', *TRIALS  # changes that are no settings of a recipe

def machine():
    "Where a row was measured; without git, the variable COMMIT says the commit"
    where = here()
    return where | dict(commit=os.environ.get('COMMIT') or where['commit'])

class Rows(list):
    "The rows of a result file, which is written anew with each row that is added"
    def __init__(self, out):
        self.out = Path(out)
        super().__init__(json.loads(self.out.read_text())['rows'] if self.out.exists() else [])
    def has(self, key): return any(key.items()<=row.items() for row in self)
    def add(self, *rows):
        self.extend(rows)
        write_json(self.out, dict(rows=self))

def images_hash(images):
    "16 digits that tell apart sets of images with their labels, or tensors of images"
    parts = {'x': images} if isinstance(images, torch.Tensor) else {'x': images.x, 'y': images.y}
    return fingerprint(parts)[:16]

def settings_of(changes):
    "Rows keep short names for some settings; as arguments of the library they are called otherwise"
    new = {k:v for k,v in changes.items() if k not in (*OURS, 'alpha', 'beta', 'gamma', 'power', 'sgd', 'tau')}
    if 'alpha' in changes: new['bn'] = changes['alpha']
    if 'power' in changes: new['canvas'] = 'spectrum' if changes['power'] else 'pixels'
    hard = {k:changes[old] for old,k in (('beta', 'weight'), ('gamma', 'gamma')) if old in changes}
    if hard: new['hard'] = dict(weight=.1) | hard
    if changes.get('sgd'): new['opt_func'] = _SGD
    if 'tau' in changes: new['ce'] = dict(weight=changes.get('ce', DEFAULT_TERMS['ce']), tau=changes['tau'])
    return new

def recipe_of(spec):
    "The recipe of a specification"
    quant = QuantSpec(spec['wbits'], spec['abits'])
    return choose_recipe(spec['recipe'], quant).changed(**settings_of(spec.get('changes', {})))

def cached_images(teacher, args, seed, cache):
    "The image set of these arguments, and the seconds it took to make; a smaller set is the beginning of a larger one"
    default = {k:p.default for k,p in inspect.signature(synthesize).parameters.items()}
    n = args.get('n', default['n'])
    args = {k:v for k,v in args.items() if k!='n' and v!=default[k]}
    key = hashlib.sha256(json.dumps([teacher_hash(teacher), args, seed], sort_keys=True).encode()).hexdigest()[:12]
    path = Path(cache)/f'{key}.safetensors'
    clock,start = path.with_suffix('.json'),time.perf_counter()
    images = synthesize(teacher, n, path=path, seed=seed, progress='log', **args)
    was = json.loads(clock.read_text()) if clock.exists() else dict(args, seed=seed, n=0, seconds=0.)
    if n>was['n']: was |= dict(n=n, seconds=was['seconds']+time.perf_counter()-start)
    write_json(clock, was)
    return images,was['seconds']*n/was['n']

def real_images(teacher, path, n=None):
    "Real images in place of synthetic ones: an upper bound, never part of a result; shifts come from a padded border"
    x,y = load_images(path).tensors
    meta = dict(shape=(3,32,32), n_out=10, flip=True, teacher=teacher_hash(teacher), log=[])
    return SyntheticDataset(torch.nn.functional.pad(x, [4]*4, mode='reflect').half()[:n], y[:n], meta)

def images_of(spec, teacher, cache):
    "The images a student learns from, and the seconds it took to make them"
    changes = spec.get('changes', {})
    n,noise = changes.get('subset'),changes.get('noise')
    if spec.get('images'): images,seconds = real_images(teacher, spec['images'], n),0.
    else:
        light = changes.get('light')
        with lit(light) if light else nullcontext():
            folder = Path(cache)/f'light{light}' if light else cache
            args = recipe_of(spec).images
            size = list(model_card(spec['model']).size)
            if size!=[32, 32]: args = args | dict(size=size)
            if 'between' in changes: args |= dict(terms=dict(bn=1., between=dict(weight=.1, share=changes['between'])))
            images,seconds = cached_images(teacher, args, spec['seed'], folder)
    if n: images,seconds = images.part(n),seconds*n/len(images)
    if noise: images.x = add_noise(images.x.float(), noise, spec['seed']).half()
    return images,seconds

def student_file(spec, cache):
    "Where the student of a specification is kept, for measurements thought of later"
    keys = 'model', 'wbits', 'abits', 'seed', 'recipe', 'changes', 'images'
    name = hashlib.sha256(json.dumps([spec.get(k) for k in keys], sort_keys=True).encode()).hexdigest()[:12]
    folder = Path(cache)/'students'
    folder.mkdir(parents=True, exist_ok=True)
    return folder/f'{name}.safetensors'

def finite(number): return number if math.isfinite(number) else None  # JSON has no NaN

def make_row(spec, weights, cache):
    "Quantise as `spec` says; only then read the test images, to count"
    torch.set_num_threads(1)
    quantize_module.PACE = spec['changes'].get('pace', PACE)
    quantize_module.NARROWEST = spec['changes'].get('narrowest', NARROWEST)
    teacher,recipe = load_model(spec['model'], weights).to(default_device()),recipe_of(spec)
    images,s_synth = images_of(spec, teacher, cache)
    learner = dict(recipe.learner)
    quant,on,seed = QuantSpec.take(spec['wbits'], spec['abits'], learner),spec['changes'],spec['seed']
    if 'leaves' in on: images = with_leaves(images, teacher, model_card(spec['model']), on['leaves'], seed)
    learn,fit = synq_learner(teacher, images, quant, seed=seed, **learner),recipe.fit
    start = time.perf_counter()
    if 'stages' in on: fit = staged(learn, teacher, images, on['stages'], seed, learner, fit)
    if 'renorm' in on: renormalise(learn)
    if 'equalise' in on: equalise(learn)
    if 'clip' in on: clip(learn)
    add_trials(learn, on)
    if 'against' in on: learn.add_cb(HalfAgainst(teacher, images, recipe.images, on['against'], seed))
    try: fit_learner(learn, progress=False, **fit)
    except FloatingPointError as e: print(spec['changes'], e, flush=True)  # counted as it stands
    s_finetune = time.perf_counter()-start
    save_student(learn.model, student_file(spec, cache))
    (x,y),theirs = photographs(spec['data'], spec['model']),judged(spec['model'], weights, spec['data'])
    ours = look(learn.model, x.to(learn.dls.device), theirs[2], theirs[1].argmax(1))
    gap,real = learn.gap(),(KLLoss()(ours[1], None, theirs[1]).item(),agreement(ours[1], None, theirs[1]).item())
    unseen = spec.get('unseen') and teacher_gap(learn.model, teacher, photographs(spec['unseen'], spec['model'])[0])
    λ = {term.label: term.weight for term in learn.loss_terms}
    ideas = dict(filter=learn.checkpoint.key['cutoff'], cam=λ.get('CAM'), soft=λ.get('soft labels'))
    source = 'real' if spec.get('images') else 'synthetic'
    return {**spec, 'data': Path(spec['data']).name, 'unseen': unseen, 'images': source,
            'protocol': quant.protocol, 'ideas': [k for k,v in ideas.items() if v], 'n_synth': len(images),
            'steps': len(learn.curve)*len(learn.dls.train)*learn.fits, 'rate': learn.rate,
            'k': correct(ours[1], y), 'n': len(y), 'teacher_k': correct(theirs[1], y), 'kept': learn.kept,
            'gap': (finite(gap[0]), gap[1]), 'real_kl': finite(real[0]), 'real_agree': real[1],
            'cam_kl': finite(cam_kl(ours[0], theirs[0])),
            's_synth': round(s_synth, 1), 's_finetune': round(s_finetune, 1), 'cores': 1, 'versions': VERSIONS,
            'teacher': teacher_hash(teacher), 'images_hash': images_hash(images), **machine()}

def photographs(path, model):
    "Labelled images in tensors: all of a file; of a folder, the first 300 by name, which are kept for development"
    if Path(path).suffix=='.npz': return load_images(path).tensors
    files = load_images(path, model_card(model), 1000)
    return torch.stack([files[i][0] for i in range(300)]),torch.tensor(files.labels)[:300]

def correct(logits, y): return (logits.argmax(1)==y).sum().item()

@torch.no_grad()
def look(model, x, layer, y=None):
    "Maps of images for classes, or for those that the model names, and its logits, on the CPU; from one forward each"
    classes = [None]*len(x) if y is None else y.to(x.device).split(256)
    maps,logits = zip(*[model_maps(model, b, c, layer) for b,c in zip(x.split(256), classes)])
    return torch.cat(maps).cpu(),torch.cat(logits).float().cpu()

@lru_cache(maxsize=2)
def judged(model, weights, data):
    "The teacher's maps and logits of labelled images, and the layer of the maps"
    teacher,x = load_model(model, weights).to(default_device()),photographs(data, model)[0].to(default_device())
    layer = spatial_stages(teacher, x[:2])[-1]
    return *look(teacher, x, layer),layer

def cam_kl(student, teacher):
    "100 × KL between maps in 0–1 for the teacher's class, raised by 0.01 against zeros, with sum 1"
    logs = [(maps/maps.sum(1, keepdim=True)).log() for maps in (m.flatten(1)+.01 for m in (teacher, student))]
    return 100*torch.nn.functional.kl_div(logs[1], logs[0], log_target=True, reduction='batchmean').item()

def add_noise(x, kind, seed):
    "Noise of standard deviation about a quarter of the images' own (`salt`: 5 % of the pixels)"
    gen = torch.Generator().manual_seed(seed)
    normal,uniform,s = torch.randn(x.shape, generator=gen),torch.rand(x.shape, generator=gen),x.std()/4
    if kind=='salt': return torch.where(uniform<.025, x.amin(), torch.where(uniform>.975, x.amax(), x))
    return x+{'gaussian': normal*s, 'speckle': normal*x/4, 'uniform': (uniform-.5)*12**.5*s}[kind]

def same(row, spec):
    "Whether a row was measured for this specification"
    keys = 'model', 'wbits', 'abits', 'seed', 'recipe', 'changes'
    return all(row.get(k)==spec[k] for k in keys) and (row['images']=='real')==bool(spec.get('images'))

def prepare(spec, weights, cache):
    "Make the images of a specification"
    torch.set_num_threads(1)
    images_of(spec, load_model(spec['model'], weights), cache)

def timed(make, *args):
    "What `make` returns, and the seconds it takes"
    start = time.perf_counter()
    return make(*args),time.perf_counter()-start

def finished_rows(pool, workers, make, todo, *args):
    """Each row as a worker finishes it; then say how long the others take if they are like the finished ones.
    A row that fails does not cost the others: its error is raised at the end"""
    seconds,errors = [],[]
    for job in as_completed([pool.submit(timed, make, s, *args) for s in todo]):
        if error := job.exception():
            errors.append(error)
            continue
        row,took = job.result()
        seconds.append(took)
        yield row
        left = sum(seconds)/len(seconds)*(len(todo)-len(seconds))/workers
        print(f'{len(seconds)} of {len(todo)} rows made, about {timedelta(seconds=round(left))} left', flush=True)
    if errors: raise errors[0]

def run_all(specs, name, weights, cache, out=None, workers=None, **common):
    "Rows of all specifications, in worker processes; finished rows are written at once"
    out = Path(out or RESULTS/f'{name}.json')
    rows = Rows(out)
    specs = [dict(dict(model='resnet20_cifar10', recipe='fast', changes={}), **common, **s) for s in specs]
    todo = [s for s in specs if not any(same(r, s) for r in rows)]
    print(f'{name}: {len(specs)-len(todo)} of {len(specs)} rows are there already', flush=True)
    if not todo: return rows
    first = {}  # one specification per image set starts first, so that no two workers make the same one
    for s in sorted(todo, key=lambda s: -recipe_of(s).images['n']):
        first.setdefault((s['seed'], json.dumps(recipe_of(s).images | dict(n=0))), s)
    os.environ['OMP_NUM_THREADS'] = '1'
    workers = workers or os.cpu_count()
    with ProcessPoolExecutor(workers, get_context('spawn')) as pool:
        jobs = [pool.submit(prepare, s, weights, cache) for s in first.values() if not s.get('images')]
        for job in as_completed(jobs): job.result()
        for row in finished_rows(pool, workers, make_row, todo, weights, cache):
            rows.add(row)
            print(f"W{row['wbits']}A{row['abits']} seed {row['seed']} {row['recipe']} {row['changes']}:",
                  f"{Accuracy(row['k'], row['n'])}, held-out KL {row['gap'][0]}, {row['s_finetune']:.0f} s",
                  flush=True)
    return rows
