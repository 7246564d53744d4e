"""The eight subsets of SynQ's three ideas at W3A3, over seeds, and what noise on the images does.

    python benchmarks/ablation.py --weights resnet20.safetensors --data test.npz

Both protocols, in rows of their own. Writes benchmarks/results/ablation.json."""
from itertools import product
from fastcore.script import call_parse
from bench import run_all
from sweeps import IMAGES

BASE = dict(paper=dict(IMAGES, subset=2304, epochs=4, bs=16, cutoff=.25, lr=3e-4, schedule='cycle', observe=1, cam=50., ce=.5, features=0., promote=0.),
            best=dict(subset=2304, epochs=8, bs=64, cam=50., ce=.1, features=0.))
OFF = [dict(o for o,keep in zip((('cutoff', 0), ('cam', 0), ('ce', 0)), on) if not keep) for on in product((0, 1), repeat=3)]

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         cache:str='runs/cache', # folder for image sets
         seeds:str='0 1 2', # of images and fine-tuning
         protocols:str='paper best', # which to measure
         part:str='ideas noise' # which tables
        ):
    "Leave ideas out, damage the images"
    specs = []
    for p in protocols.split():
        if 'ideas' in part: specs += [dict(recipe=p, changes=BASE[p]|o, seed=int(s), ablation=True) for o in OFF for s in seeds.split()]
        if 'noise' in part and p=='paper': specs += [dict(recipe=p, changes=BASE[p]|dict(noise=k)|o, seed=0) for k in ('gaussian', 'speckle', 'salt', 'uniform') for o in (OFF[0], OFF[-1])]
    run_all([dict(s, wbits=3, abits=3) for s in specs], 'ablation', weights, cache, data=data)
