"""One change of the default at a time, on development networks: the runs from which defaults are chosen.

    python benchmarks/develop.py --weights resnet32.safetensors --data test_1017.npz --unseen train_5085.npz

Writes benchmarks/results/development.json. `k` of `n` is the accuracy on `--data`; `real_kl` and `real_agree` compare
student and teacher on the same images, `unseen` on more photographs that no student has seen, which tells apart
settings whose counts do not differ. No student is fitted on a photograph but with `--real`, an upper bound."""
from fastcore.script import call_parse
from bench import run_all
from synq_nb.lowpass import PAPER_CUTOFF

# around the recipe `fast` as it was, with batches of 64 and two-bit weights whose steps moved three times as fast
BASE = dict(bs=64, narrowest=1)
CHANGES = [BASE|c for c in (
    {}, dict(mix=0.), dict(pace=3.), dict(pace=10.), dict(bs=32), dict(lr=2e-3), dict(lr=5e-4), dict(cam=0.),
    dict(features=0.), dict(features=200.), dict(ce=0.), dict(cutoff=0), dict(T=4.), dict(promote=.01),
    dict(bs=32, lr=2e-3), dict(bs=32, lr=5e-4), dict(bs=16, lr=5e-4), dict(bs=32, narrowest=3),
    dict(bs=32, cam=0., features=0., ce=0.), dict(bs=32, features=0.), dict(bs=32, narrowest=3, cam=0.),
    dict(bs=32, narrowest=3, features=0.), dict(bs=32, narrowest=3, ce=0.), dict(bs=32, narrowest=3, cutoff=0),
    dict(bs=32, narrowest=3, cam=0., features=0., ce=0.))]
# with batches of 32 and slower two-bit steps: ways of their own, each in `trials.py`
NOW = dict(bs=32, narrowest=3)
CHANGES += [NOW|c for c in (
    dict(drop=.5), dict(stages=[3, 3]), dict(leaves=768, epochs=6), dict(renorm=True), dict(average=.98), dict(mix=1.),
    dict(epochs=24), dict(leaves=2304, epochs=4), dict(equalise=True), dict(jitter=.4), dict(cutmix=.5),
    dict(blocks=.3), dict(light=.4), dict(light=.4, jitter=.4), dict(against=0.), dict(against=1.),
    dict(thaw=1.), dict(thaw=.5), dict(thaw=1., mix=0.), dict(thaw=.25), dict(thaw=.75), dict(thaw=.5, mix=0.),
    # more images with the same number of steps, and more steps over as many images and over more
    dict(n=4608, epochs=4), dict(epochs=32), dict(n=4608, epochs=16), dict(n=9216, epochs=8),
    # other images: those whose statistics are matched all together, and those between two classes
    dict(batch_size=2304), dict(between=.5),
    # the recipe `best`, and more of its steps and images
    dict(n=4608, epochs=12), dict(n=4608, epochs=32), dict(n=9216, epochs=16),
    # weights that are drawn to their grid
    dict(damp=.001), dict(damp=.01), dict(damp=.1),
    # BatchNorm that follows the student from the statistics of synthetic images on
    dict(thaw=1., rebase=True), dict(thaw=.5, rebase=True), dict(n=4608, epochs=12, thaw=.5, rebase=True),
    dict(n=4608, epochs=12, thaw=1., rebase=True))]
# a network with depthwise convolutions at 224 pixels
SHORT = dict(n=512, batch_size=128, epochs=12)
DEPTHWISE = [SHORT|c for c in (
    dict(equalized=False), dict(equalized=True), dict(equalized=True, thaw=1.),
    dict(equalized=True, thaw=1., rebase=True), dict(equalized=True, thaw=.5, rebase=True),
    dict(equalized=True, damp=.01), dict(equalized=True, damp=.001), dict(equalized=True, lr=2.5e-4),
    dict(equalized=True, thaw=1., rebase=True, lr=2.5e-4),
    # the same as settings of the library, and the nearer of both rates
    dict(equalized=True, follow=1., rates=2))]
# around `paper_fast` as it was, with ranges of batches
OLD = dict(n=2304, method='minmax', cutoff=PAPER_CUTOFF)
PAPER = [OLD|c for c in ({}, dict(sgd=True), dict(cutoff=.25), dict(sgd=True, cutoff=.25), dict(lr=1e-3))]
# the same with the filter that came of it
OLD = OLD | dict(cutoff=.25)
PAPER += [OLD|c for c in (
    dict(follow=1.), dict(follow=.5), dict(observe=8), dict(observe=4), dict(mix=.5), dict(epochs=16),
    dict(bs=32, lr=6e-4), dict(features=200.), dict(cam=0., features=0., ce=0.), dict(lr=1.5e-4), dict(T=4.),
    dict(wd=0.), dict(observe=0), dict(bs=8, lr=2e-4), dict(mix=.5, epochs=16), dict(bs=4, lr=1.4e-4),
    dict(group=4), dict(group=2), dict(group=1), dict(narrow=.02), dict(narrow=.1))]
# ranges of single images, and more changes beside them
PAPER += [OLD|dict(group=1)|c for c in (
    dict(bs=8, lr=2e-4), dict(bs=32, lr=6e-4), dict(lr=6e-4), dict(mix=.5), dict(epochs=16), dict(follow=1.),
    dict(observe=4), dict(features=0.), dict(cam=0., features=0., ce=0.), dict(bs=32, lr=1e-3),
    dict(clip=True), dict(ce=.1), dict(ce=0.))]

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled development images
         unseen:str=None, # .npz of more photographs
         real:str='', # .npz of photographs to train on instead, the upper bound; empty: none
         model:str='resnet32_cifar10', # zoo name
         bits:str='33 22', # W and A bits
         seeds:str='0 1', # of images and fine-tuning
         recipe:str='fast', # or `paper_fast`, whose changes are a list of their own
         depthwise:bool=False, # the list for a network with depthwise convolutions, with `--data` a folder
         only:str='', # numbers of the changes to try, from 0; empty: all
         cache:str='runs/cache', # folder for image sets
         workers:int=None, # processes; default: one per core
         out:str=None # result file
        ):
    "Try each change of the default over seeds"
    tried = PAPER if recipe=='paper_fast' else DEPTHWISE if depthwise else CHANGES
    chosen = [tried[int(i)] for i in only.split()] if only else tried
    specs = [dict(wbits=int(b[0]), abits=int(b[1]), seed=int(s), changes=c, recipe=recipe)
             for s in seeds.split() for c in chosen for b in bits.split()]
    if real:
        specs = [dict(wbits=int(b[0]), abits=int(b[1]), seed=int(s), changes=BASE|dict(subset=2304), images=real)
                 for s in seeds.split() for b in bits.split()]
    run_all(specs, 'development', weights, cache, out, workers, model=model, data=data, unseen=unseen)
