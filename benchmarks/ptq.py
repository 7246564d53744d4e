"""Rounding to the nearest, adaptive rounding, and fine-tuning, on the same images, over widths and seeds.

    python benchmarks/ptq.py

The ResNet-8 and the test patches of the embedded example; needs no files. Fine-tuning is that of the recipe `fast`, on
as many images as `ptq` asks for. Writes benchmarks/results/ptq.json; finished rows are kept."""
import time
from pathlib import Path
import torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from synq_nb.all import *

WAYS = dict(nearest=None, adaptive=RECIPES['ptq'].fit, fine_tuned=RECIPES['fast'].fit)

def rows_of(teacher, test, images, bits, seed):
    "A row for each way"
    for way,fit in WAYS.items():
        learn = synq_learner(teacher, images, QuantSpec(*bits), seed=seed, **RECIPES['ptq'].learner)
        start = time.perf_counter()
        if fit: fit_learner(learn, progress=False, **fit)
        seconds = time.perf_counter()-start
        acc,(kl,same) = evaluate(learn.model, test),teacher_gap(learn.model, teacher, test.tensors[0])
        yield dict(way=way, wbits=bits[0], abits=bits[1], seed=seed, k=acc.k, n=acc.n, kl=finite(kl), same=same,
                   kept=learn.kept, seconds=seconds, images_hash=images_hash(images))

@call_parse
def main(bits:str='88 48 44 33 24 22', # W and A bits
         seeds:str='0 1 2', # of images and fitting
         out:str=None # result file
        ):
    "Measure each width"
    torch.set_num_threads(1)
    out = Path(out or RESULTS/'ptq.json')
    rows = Rows(out)
    teacher,test = patches_teacher(),patches_data()[1]
    whole = dict(teacher_k=evaluate(teacher, test).k, teacher=teacher_hash(teacher), versions=VERSIONS, **machine())
    done = {(r['wbits'], r['abits'], r['seed']) for r in rows}
    for seed in map(int, seeds.split()):
        todo = [pair for b in bits.split() if (pair := (int(b[0]), int(b[1]))) and (*pair, seed) not in done]
        images = todo and synthesize(teacher, seed=seed, progress=False, **RECIPES['ptq'].images)
        for pair in todo:
            new = [row|whole for row in rows_of(teacher, test, images, pair, seed)]
            rows.add(*new)
            print(seed, pair, {r['way']: (r['k'], r['kl'] and round(r['kl'], 4)) for r in new}, flush=True)
