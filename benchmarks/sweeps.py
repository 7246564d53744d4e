"""How well does a score on synthetic images alone rank students? One hyper-parameter at a time, W3A3, one image set.

    python benchmarks/sweeps.py --weights resnet20.safetensors --data test.npz

Writes benchmarks/results/sweeps.json. The real accuracy in it is for the plot of the rank correlation; choices are made
by `heldout` alone."""
from fastcore.script import call_parse
from bench import PAPER_CUTOFF, run_all

BASE = dict(subset=2304, epochs=8)
VALUES = dict(lr=(3e-4, 2e-3), epochs=(4, 16), subset=(576, 1152, 4608), cutoff=(0, .2, PAPER_CUTOFF), cam=(0, 1., 50.), ce=(0, .5, 5.),
              tau=(.3, .7), features=(0, 1., 50.), T=(4.,), promote=(.01,))

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         cache:str='runs/cache', # folder for image sets
         seed:int=0, # of images and fine-tuning
         bits:str='33' # W and A bits
        ):
    "One change at a time around the base"
    specs = [BASE]+[BASE|{k:v} for k,vs in VALUES.items() for v in vs]
    run_all([dict(changes=c, recipe='best', seed=seed) for c in specs], 'sweeps', weights, cache, data=data, wbits=int(bits[0]), abits=int(bits[1]))
