"""Where the images come from, with and without SynQ's ideas, over seeds.

    python benchmarks/sources.py
    python benchmarks/sources.py --weights resnet20.safetensors --data test_8983.npz --sources "spectrum generator" \
        --out results/sources_resnet20.json

The ResNet-8 and the test patches of the embedded example, which need no files, or a network and images of one's own.
Every source makes the same number of images in the same number of steps, at the default rate; Gaussian noise, labelled
by the teacher, is what a source should beat. `ideas` are the filter, the maps and the labels of easy samples; feature
alignment stays, as in the recipe `fast`, whose fine-tuning this is. Writes benchmarks/results/sources.json; finished
rows are kept."""
import time
from pathlib import Path
import torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from synq_nb.all import *

WITHOUT = dict(cutoff=None, cam=0, ce=0)

def noise(teacher, n, seed):
    "White noise in the place of synthetic images"
    shape,n_out = infer_io(teacher, 32)
    x = torch.randn(n, shape[0], 40, 40, generator=torch.Generator().manual_seed(seed))
    y = in_batches(teacher, middle_window(x, 32)).argmax(1)
    meta = dict(shape=shape, n_out=n_out, flip=True, teacher=teacher_hash(teacher), log=[])
    return SyntheticDataset(x.half(), y, meta)

def fine_tuned(teacher, test, images, bits, seed, ideas):
    "What a student of these images gets right"
    recipe = RECIPES['fast'].changed(**({} if ideas else WITHOUT))
    learn = synq_learner(teacher, images, QuantSpec(*bits), seed=seed, **recipe.learner)
    fit_learner(learn, progress=False, **recipe.fit)
    acc,(kl,same) = evaluate(learn.model, test),teacher_gap(learn.model, teacher, test.tensors[0])
    return dict(k=acc.k, n=acc.n, kl=finite(kl), same=same, kept=learn.kept)

@call_parse
def main(bits:str='33 22', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         n:int=1024, # images
         iters:int=60, # steps of synthesis
         sources:str='noise '+' '.join(CANVASES), # of images
         model:str='resnet20_cifar10', # of the weights
         weights:str=None, # checkpoint; None: the embedded example
         data:str=None, # .npz of labelled images for it
         out:str=None # result file
        ):
    "Measure each source"
    torch.set_num_threads(1)
    out = Path(out or RESULTS/'sources.json')
    rows = Rows(out)
    if weights: teacher,test = load_model(model, weights),load_images(data)
    else: model,teacher,test = 'patches',patches_teacher(),patches_data()[1]
    whole = dict(model=model, teacher_k=evaluate(teacher, test).k, teacher=teacher_hash(teacher), versions=VERSIONS,
                 **machine())
    for seed in map(int, seeds.split()):
        for source in sources.split():
            start = time.perf_counter()
            about = dict(source=source, seed=seed, n_images=n, iters=iters)
            cases = [about | dict(wbits=int(w), abits=int(a), ideas=ideas) for w,a in bits.split() for ideas in (0, 1)]
            todo = [case for case in cases if not rows.has(case)]
            if not todo: continue
            images = noise(teacher, n, seed) if source=='noise' else synthesize(
                teacher, n, 32, iters, canvas=source, seed=seed, progress='log')
            took = dict(s_images=round(time.perf_counter()-start, 1), last=images.meta['log'][-1:],
                        images_hash=images_hash(images))
            for case in todo:
                pair = case['wbits'],case['abits']
                rows.add(case | took | fine_tuned(teacher, test, images, pair, seed, case['ideas']) | whole)
                print({k:v for k,v in rows[-1].items() if k not in whole}, flush=True)
