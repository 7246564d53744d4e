"""Accuracy of the frozen recipes on a network and on images that no choice was made with, over seeds.

    python benchmarks/report.py --weights resnet20.safetensors --data test_8983.npz --real train_5085.npz

Writes benchmarks/results/report.json. Boards: `auto` (what a user gets), `paper_fast` (the paper's places and widths),
the same with ranges of batches as in the paper (`minmax`), and `auto` on real photographs, the upper bound. `s_synth`
and `s_finetune` are seconds of one process with one thread, one process per core. Image sets and finished rows are
kept, so a stopped run continues."""
from fastcore.script import call_parse
from bench import run_all
from synq_nb.all import QuantSpec, choose_recipe, RECIPES

def of_auto(wbits, abits):
    "The name of the recipe that 'auto' stands for at these bits"
    chosen = choose_recipe('auto', QuantSpec(wbits, abits))
    return next(name for name,recipe in RECIPES.items() if recipe is chosen)

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz of labelled report images
         real:str='', # .npz of real training images, for the upper bound alone
         model:str='resnet20_cifar10', # zoo name
         auto:str='33 22 44', # W and A bits of the default
         paper:str='44 33', # of `paper_fast`
         real_bits:str='44 33 22', # of the upper bound
         seeds:str='0 1 2', # of images and fine-tuning
         cache:str='runs/cache', # folder for image sets
         workers:int=None, # processes; default: one per core
         out:str=None # result file
        ):
    "Measure the frozen recipes"
    def bits(s): return [dict(wbits=int(b[0]), abits=int(b[1])) for b in s.split()]
    chosen = [b|dict(recipe=of_auto(**b)) for b in bits(auto)]
    upper = [b|dict(recipe=of_auto(**b)) for b in bits(real_bits)] if real else []
    upper = [b|dict(images=real, changes=dict(subset=RECIPES[b['recipe']].images['n'])) for b in upper]
    ranges = {},dict(method='minmax')
    specs = [*chosen, *[b|dict(recipe='paper_fast', changes=c) for c in ranges for b in bits(paper)], *upper]
    specs = [dict(s, seed=int(k)) for s in specs for k in seeds.split()]
    run_all(specs, 'report', weights, cache, out, workers, model=model, data=data)
