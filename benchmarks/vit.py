"""The small vision transformer of the patches: calibrated on noise, on synthetic images, and fine-tuned on these.

    python benchmarks/vit.py

Needs no files. Each row has the recipe that 'auto' stands for. `k` of `n` counts the 1,600 test patches, and `kl` is
the mean KL to the teacher on them. Writes benchmarks/results/vit.json; finished rows are kept."""
import time
from pathlib import Path
import torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from synq_nb.all import *

def rows_of(teacher, test, bits, seed, cache):
    "Three rows of one width: two that are only rounded, and the student"
    spec,start = QuantSpec(*bits),time.perf_counter()
    recipe = choose_recipe('auto', spec, teacher)
    images = synthesize(teacher, path=Path(cache)/f'vit-{seed}.safetensors', seed=seed, progress=False, **recipe.images)
    learn = synq_learner(teacher, images, spec, seed=seed, **recipe.learner)
    fit_learner(learn, progress=False, **recipe.fit)
    seconds = time.perf_counter()-start
    noise = torch.randn(256, *images.meta['shape'], generator=torch.Generator().manual_seed(seed))
    models = {'noise': calibrate(quantize(teacher, spec), noise),
              'synthetic': calibrate(quantize(teacher, spec), images.images(256)), 'student': learn.model}
    for name,model in models.items():
        acc,(kl,same) = evaluate(model, test),teacher_gap(model, teacher, test.tensors[0])
        yield dict(ranges=name, wbits=spec.wbits, abits=spec.abits, seed=seed, k=acc.k, n=acc.n, kl=finite(kl),
                   same=same, kept=learn.kept, seconds=seconds,
                   images_hash=images_hash(noise if name=='noise' else images))

@call_parse
def main(bits:str='88 48 44', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Measure each width"
    torch.set_num_threads(1)
    out = Path(out or RESULTS/'vit.json')
    rows = Rows(out)
    teacher,test = patches_vit(),patches_data()[1]
    whole = dict(teacher_k=evaluate(teacher, test).k, teacher=teacher_hash(teacher), versions=VERSIONS, **machine())
    done = {(r['wbits'], r['abits'], r['seed']) for r in rows}
    for seed,pair in [(int(s), (int(b[0]), int(b[1]))) for s in seeds.split() for b in bits.split()]:
        if (*pair, seed) in done: continue
        new = [row|whole for row in rows_of(teacher, test, pair, seed, cache)]
        rows.add(*new)
        print(seed, pair, {r['ranges']: (r['k'], r['kl'] and round(r['kl'], 4)) for r in new}, flush=True)
