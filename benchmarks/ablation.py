"""The eight subsets of SynQ's three ideas, W3A3, over seeds; plus the noise and the size of the image set.

    python benchmarks/ablation.py --weights resnet20.safetensors --data test.npz

Writes benchmarks/results/ablation.json."""
from itertools import product
from fastcore.script import call_parse
from bench import run_all

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         cache:str='runs/cache', # folder for image sets
         seeds:str='0 1 2', # of images and fine-tuning
         epochs:int=8, # passes over the images
         part:str='ideas noise size', # which tables
        ):
    "Leave ideas out, damage the images, take fewer of them"
    base = dict(epochs=epochs, subset=2304, features=0)
    off = [dict(o for o,keep in zip((('cutoff', 0), ('cam', 0), ('ce', 0)), on) if not keep) for on in product((0, 1), repeat=3)]
    parts = dict(ideas=[dict(changes=base|o, seed=int(s), ablation=True) for o in off for s in seeds.split()],
                 noise=[dict(changes=base|dict(noise=k)|o, seed=0) for k in ('gaussian', 'speckle', 'salt', 'uniform') for o in (off[0], off[-1])],
                 size=[dict(changes=base|dict(subset=n, epochs=epochs*2304//n), seed=0) for n in (288, 576, 1152, 4608)])
    specs = [dict(s, recipe='best', wbits=3, abits=3) for p in part.split() for s in parts[p]]
    run_all(specs, 'ablation', weights, cache, data=data)
