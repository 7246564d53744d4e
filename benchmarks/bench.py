"""What the accuracy benchmarks share: a specification goes in, a row comes out.

A specification is a dict with `wbits`, `abits`, `seed`, `recipe`, and `changes` to the recipe; `images` is 'synthetic' or,
for upper bounds only, the path of real training images. Image sets are made once and kept in a cache folder; rows already
in the result file are kept, so a stopped command continues. Each process uses one thread, one process per core."""
import hashlib, inspect, json, math, os, sys, time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
import fastai, torch, torchvision
from synq_nb.all import *
from synq_nb.cli import write_json

RESULTS = Path(__file__).parent/'results'
VERSIONS = {m.__name__: m.__version__ for m in (torch, torchvision, fastai)} | {'python': sys.version.split()[0]}

def cached_images(teacher, args, seed, cache):
    "The image set of these arguments, and the seconds it took to make"
    default = {k:p.default for k,p in inspect.signature(synthesize).parameters.items()}
    args = {k:v for k,v in args.items() if v!=default[k]}
    key = hashlib.sha256(json.dumps([teacher_hash(teacher), args, seed], sort_keys=True).encode()).hexdigest()[:12]
    path = Path(cache)/f'{key}.safetensors'; clock = path.with_suffix('.json')
    start = time.perf_counter()
    ds = synthesize(teacher, path=path, seed=seed, progress='log', **args)
    if not clock.exists(): write_json(clock, dict(args, seed=seed, seconds=time.perf_counter()-start))
    return ds,json.loads(clock.read_text())['seconds']

def real_images(teacher, path, n=None):
    "Real images in place of synthetic ones: an upper bound, never part of a result; shifts are taken out of a padded border"
    x,y = load_images(path).tensors
    meta = dict(shape=(3,32,32), n_out=10, flip=True, teacher=teacher_hash(teacher), log=[])
    return SyntheticDataset(torch.nn.functional.pad(x, [4]*4, mode='reflect').half()[:n], y[:n], meta)

def make_row(spec, weights, cache):
    "Quantise as `spec` says; only then read the test images, to count"
    torch.set_num_threads(1)
    model,w,a,seed = (spec[k] for k in ('model', 'wbits', 'abits', 'seed'))
    teacher,changes = load_model(model, weights),dict(spec.get('changes', {}))
    n,noise = changes.pop('subset', None),changes.pop('noise', None)
    synth_args,learner_args,fit_args = recipe_args(spec['recipe'], w, a, **changes)
    if spec.get('images'): ds,s_synth = real_images(teacher, spec['images'], n),0.
    else: ds,s_synth = cached_images(teacher, synth_args, seed, cache)
    if n: s_synth *= n/len(ds); ds = SyntheticDataset(ds.x[:n], ds.y[:n], ds.meta)
    if noise: ds = SyntheticDataset(add_noise(ds.x.float(), noise, seed).half(), ds.y, ds.meta)
    learn = synq_learner(teacher, ds, w, a, seed=seed, **learner_args)
    start = time.perf_counter()
    try: fit_learner(learn, progress=False, **fit_args)
    except FloatingPointError as e: print(spec['changes'], e, flush=True)  # counted as it stands
    s_finetune = time.perf_counter()-start
    number = lambda v: v if math.isfinite(v) else None  # JSON has no NaN
    score = {k: (number(kl), a) for k,(kl,a) in heldout_score(learn.model, teacher, heldout_sets(teacher, path=Path(cache)/teacher_hash(teacher), progress='log')).items()}
    test = load_images(spec['data']); acc,t = evaluate(learn.model, test),evaluate(teacher, test)
    real = heldout_score(learn.model, teacher, {'real': test.tensors[0]})['real']
    on = dict(filter=learner_args.get('cutoff', DEFAULT_CUTOFF), cam=learner_args.get('cam', 10.), soft=learner_args.get('ce', .1))
    return {**spec, 'data': Path(spec['data']).name, 'images': 'real' if spec.get('images') else 'synthetic', 'protocol': learner_args.get('protocol', 'best'),
            'ideas': [k for k,v in on.items() if v], 'n_synth': len(ds), 'steps': len(learn.curve)*len(learn.dls.train), 'k': acc.k, 'n': acc.n, 'teacher_k': t.k,
            'agree': score['mean'][1], 'heldout': score, 'real_kl': number(real[0]), 'real_agree': real[1], 'cam_kl': number(cam_kl(learn.model, teacher, test.tensors[0])),
            's_synth': round(s_synth, 1), 's_finetune': round(s_finetune, 1),
            'cores': 1, 'versions': VERSIONS, 'teacher': teacher_hash(teacher)}

@torch.no_grad()
def cam_kl(student, teacher, x):
    "100 × KL between the saliency of teacher and student for the teacher's class; maps scaled to 0–1, plus 0.01 against zeros, normalised to sum 1"
    layer = spatial_stages(teacher, x[:2])[-1]; head = linear_head(teacher, layer, x[:2]); y,logs = None,[]
    for m in (teacher, student):
        with capture(m, layer) as h: logits = m(x)
        y = logits.argmax(1) if y is None else y
        S = scale_map(saliency(h.stored, m.get_submodule(head).weight[y])).flatten(1)+.01
        logs.append((S/S.sum(1, keepdim=True)).log())
    return 100*torch.nn.functional.kl_div(logs[1], logs[0], log_target=True, reduction='batchmean').item()

def add_noise(x, kind, seed):
    "Noise of standard deviation about a quarter of the images' own (`salt`: 5 % of the pixels)"
    g = torch.Generator().manual_seed(seed); r = torch.randn(x.shape, generator=g); u = torch.rand(x.shape, generator=g); s = x.std()/4
    if kind=='salt': return torch.where(u<.025, x.amin(), torch.where(u>.975, x.amax(), x))
    return x+{'gaussian': r*s, 'speckle': r*x/4, 'uniform': (u-.5)*12**.5*s}[kind]

def same(row, spec): return all(row.get(k)==spec[k] for k in ('model', 'wbits', 'abits', 'seed', 'recipe', 'changes')) and (row['images']=='real')==bool(spec.get('images'))

def run_all(specs, name, weights, cache, out=None, workers=None, **common):
    "Rows of all specifications, in worker processes; finished rows are written at once"
    out = Path(out or RESULTS/f'{name}.json'); out.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(out.read_text())['rows'] if out.exists() else []
    specs = [dict(dict(model='resnet20_cifar10', recipe='fast', changes={}), **common, **s) for s in specs]
    todo = [s for s in specs if not any(same(r, s) for r in rows)]
    first = {}  # one specification per image set starts first, so that no two workers make the same one
    for s in todo: first.setdefault((s['seed'], json.dumps(recipe_args(s['recipe'], s['wbits'], s['abits'], **{k:v for k,v in s['changes'].items() if k not in ('subset', 'noise')})[0])), s)
    print(f'{name}: {len(specs)-len(todo)} of {len(specs)} rows are there already', flush=True)
    if not todo: return rows
    os.environ['OMP_NUM_THREADS'] = '1'
    with ProcessPoolExecutor(workers or os.cpu_count(), get_context('spawn')) as pool:
        teacher = load_model(specs[0]['model'], weights)
        heldout_sets(teacher, path=Path(cache)/teacher_hash(teacher), progress='log')
        jobs = {pool.submit(prepare, s, weights, cache): s for s in first.values() if not s.get('images')}
        for j in as_completed(jobs): j.result()
        jobs = {pool.submit(make_row, s, weights, cache): s for s in todo}
        for j in as_completed(jobs):
            rows.append(j.result()); r = rows[-1]
            write_json(out, dict(rows=rows))
            print(f"W{r['wbits']}A{r['abits']} seed {r['seed']} {r['recipe']} {r['changes']}: {Accuracy(r['k'], r['n'])}, held-out KL {r['heldout']['mean'][0]}, {r['s_finetune']:.0f} s", flush=True)
    return rows

def prepare(spec, weights, cache):
    torch.set_num_threads(1)
    changes = {k:v for k,v in spec['changes'].items() if k not in ('subset', 'noise')}
    cached_images(load_model(spec['model'], weights), recipe_args(spec['recipe'], spec['wbits'], spec['abits'], **changes)[0], spec['seed'], cache)
