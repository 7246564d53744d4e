"""The eight subsets of SynQ's three ideas at W3A3, over seeds, and what noise on the images does.

    python benchmarks/ablation.py --weights resnet20.safetensors --data test_8983.npz

Both protocols, in rows of their own. Writes benchmarks/results/ablation.json. `--part whole` is the recipe `best` at
its full length, feature alignment included, with all three ideas, without any, and with each left out; with `--recipe
fast`, the same at the length of the other tables, and with `--recipe paper_fast` the same with one width for all
layers. All on report images, since nothing is chosen from these tables:

    python benchmarks/ablation.py --weights resnet20.safetensors --data test_8983.npz --part whole \\
        --out results/ablation_whole.json
    python benchmarks/ablation.py --weights resnet20.safetensors --data test_8983.npz --part whole --recipe fast \\
        --out results/ablation_short.json
    python benchmarks/ablation.py --weights resnet20.safetensors --data test_8983.npz --part whole \\
        --recipe paper_fast --out results/ablation_paper.json
"""
from itertools import product
from fastcore.script import call_parse
from bench import run_all

# feature alignment, which is not one of the ideas, is left out; ranges are those of batches, as in the paper
BASE = dict(paper=('paper_fast', dict(subset=2304, epochs=4, features=0., method='minmax')),
            best=('fast', dict(features=0.)))
IDEAS = 'cutoff', 'cam', 'ce'
OFF = [{idea: 0 for idea,keep in zip(IDEAS, on) if not keep} for on in product((0, 1), repeat=3)]
NOISE = 'gaussian', 'speckle', 'salt', 'uniform'

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         cache:str='runs/cache', # folder for image sets
         seeds:str='0 1 2', # of images and fine-tuning
         protocols:str='paper best', # which to measure
         part:str='ideas noise', # which tables; `whole` for the one of a whole recipe
         recipe:str='best', # of `whole`
         workers:int=None, # processes; default: one per core
         out:str=None # result file
        ):
    "Leave ideas out, damage the images"
    left_out = [{}, OFF[0], *({idea: 0} for idea in IDEAS)] if part=='whole' else []
    specs = [dict(recipe=recipe, changes=off, seed=int(seed)) for seed in seeds.split() for off in left_out]
    for p in protocols.split() if part!='whole' else []:
        base,changes = BASE[p]
        for seed,off in product(map(int, seeds.split()), OFF if 'ideas' in part else []):
            specs.append(dict(recipe=base, changes=changes|off, seed=seed, ablation=True))
        for kind,off in product(NOISE if 'noise' in part and p=='paper' else [], (OFF[0], OFF[-1])):
            specs.append(dict(recipe=base, changes=changes|dict(noise=kind)|off, seed=0))
    run_all([dict(s, wbits=3, abits=3) for s in specs], 'ablation', weights, cache, out, workers, data=data)
