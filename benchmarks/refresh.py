"""Images replaced in every epoch, against the same ones in all epochs, and against all of them from the beginning.

    python benchmarks/refresh.py

The ResNet-8 and the test patches of the embedded example, images of the generator, two bits; needs no files. `fixed`
sees `n` images in each of `epochs` epochs, `refreshed` other `n` in each, and `all at once` as many images as these
have together, once: the steps are as many in all three. Writes benchmarks/results/refresh.json; finished rows are
kept; `images_hash` is of the images of the first epoch."""
import time
from functools import partial
from pathlib import Path
import torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from synq_nb.all import *

@call_parse
def main(wbits:int=2, # weight bits
         abits:int=2, # activation bits
         seeds:str='0 1 2', # of images and fine-tuning
         n:int=512, # images of an epoch
         iters:int=40, # steps of synthesis
         epochs:int=8, # of fine-tuning
         out:Path=RESULTS/'refresh.json' # result file
        ):
    "Measure each way"
    torch.set_num_threads(1)
    rows = Rows(out)
    teacher,test = patches_teacher(),patches_data()[1]
    whole = dict(teacher_k=evaluate(teacher, test).k, teacher=teacher_hash(teacher), versions=VERSIONS, **machine())
    made = partial(synthesize, teacher, size=32, iters=iters, canvas='generator', progress=False)
    def refreshed(seed): return Refresh(lambda epoch: made(n, seed=1000*(seed+1)+epoch))
    ways = {'fixed': (n, epochs, False), 'refreshed': (n, epochs, True), 'all at once': (n*epochs, 1, False)}
    for seed in map(int, seeds.split()):
        for way,(images,passes,anew) in ways.items():
            key = dict(way=way, seed=seed, wbits=wbits, abits=abits, n_images=images, epochs=passes, iters=iters)
            if rows.has(key): continue
            start = time.perf_counter()
            first = made(images, seed=seed)
            learn = synq_learner(teacher, first, wbits, abits, seed=seed,
                                 cbs=[refreshed(seed)] if anew else [], **RECIPES['fast'].learner)
            fit_learner(learn, passes, RECIPES['fast'].fit['lr'], progress=False)
            acc,(kl,same) = evaluate(learn.model, test),teacher_gap(learn.model, teacher, test.tensors[0])
            rows.add(key | dict(k=acc.k, n=acc.n, kl=finite(kl), same=same, s=time.perf_counter()-start,
                                   images_hash=images_hash(first)) | whole)
            print({k: rows[-1][k] for k in (*key, 'k', 'kl', 's')}, flush=True)
