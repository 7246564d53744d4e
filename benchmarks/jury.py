"""Can a score without photographs rank good students? Sets no student has seen, against what photographs say.

    python benchmarks/jury.py --weights resnet32.safetensors

Judges the students that other commands of this folder left in the cache, and writes benchmarks/results/jury.json: per
student the KL to its teacher on every jury, beside the rows' own `k`, `real_kl`, `unseen` and `images_hash`. Students
that were judged before are skipped."""
from fastcore.script import call_parse
from bench import *
from trials import dead_leaves

def clouds(n, size, seed, power=1.2):
    "Coloured noise with the spectrum 1/f^power"
    gen = torch.Generator().manual_seed(seed)
    f = (torch.fft.fftfreq(size)[:,None]**2+torch.fft.rfftfreq(size)**2).sqrt().clamp(min=1/size)
    tint = .6*torch.randn(n, 3, 3, generator=gen)+torch.eye(3)+.8
    white = torch.einsum('ncd,ndhw->nchw', tint, torch.randn(n, 3, size, size, generator=gen))
    x = torch.fft.irfft2(torch.fft.rfft2(white)*f**-power, s=(size, size))
    x = (x-x.mean((1,2,3), keepdim=True))/x.std((1,2,3), keepdim=True)
    light,contrast = .3+.4*torch.rand(n, 1, 1, 1, generator=gen),.08+.25*torch.rand(n, 1, 1, 1, generator=gen)
    return (light+contrast*x).clamp(0, 1)

def corrupted(x, seed):
    "Images with noise, with half the contrast, and upside down, a third each"
    a,b,c = x.chunk(3)
    return torch.cat([add_noise(a, 'gaussian', seed), b/2, c.flip(-2)])

def juries(card, teacher, n, cache):
    "Name → normalised images that no student was trained on"
    mean,std = (torch.tensor(v)[:,None,None] for v in (card.mean, card.std))
    leaves,fog = dead_leaves(n, 32, 5),clouds(n, 32, 6)
    args = choose_recipe('fast').images | dict(n=n, iters=100)
    other,_ = cached_images(teacher, args | dict(canvas='pixels'), 999, cache)
    sets = {'dead leaves': (leaves-mean)/std, 'clouds': (fog-mean)/std, 'leaves and clouds': ((leaves+fog)/2-mean)/std,
            'white noise': torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(7)),
            'pixel canvas': other.images()}
    return sets | {'pixel canvas, corrupted': corrupted(other.images(), 8)}

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         rows:str='development', # result file whose students are judged
         model:str='resnet32_cifar10', # zoo name; other rows of the file are left out
         real:str='', # .npz of the upper bound's photographs, as the rows' command had it
         n:int=512, # images per jury
         cache:str='runs/cache', # folder with the students
         out:str=None # result file
        ):
    "Judge saved students"
    torch.set_num_threads(1)
    out,card = Path(out or RESULTS/'jury.json'),ZOO[model]
    judged = Rows(out)
    teacher = load_model(model, weights)
    sets = juries(card, teacher, n, cache)
    hashes = {name: images_hash(x) for name,x in sets.items()}
    for row in json.loads((RESULTS/f'{rows}.json').read_text())['rows']:
        file = student_file(row | dict(images=real if row['images']=='real' else None), cache)
        about = {k: row[k] for k in ('model', 'wbits', 'abits', 'seed', 'recipe', 'changes', 'images')}
        if row['model']!=model or not file.exists() or judged.has(about): continue
        student = load_student(card.build(), file)[0].eval()
        kl = {name: finite(teacher_gap(student, teacher, x)[0]) for name,x in sets.items()}
        seen = {k: row.get(k) for k in ('k', 'n', 'teacher_k', 'gap', 'real_kl', 'unseen', 'images_hash')}
        judged.add(about | seen | dict(jury=kl, jury_hash=hashes, versions=VERSIONS, **machine()))
        print(row['wbits'], row['seed'], row['changes'], {k: round(v, 3) for k,v in kl.items()}, flush=True)
