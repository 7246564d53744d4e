"""How well does a score on synthetic images alone rank students? One hyper-parameter at a time, W3A3, one image set.

    python benchmarks/sweeps.py --weights resnet20.safetensors --data test.npz

Writes benchmarks/results/sweeps.json. It also prints and keeps real accuracy, for the plot of the rank correlation."""
from fastcore.script import call_parse
from synq_nb.lowpass import PAPER_CUTOFF
from bench import run_all

BASE = dict(subset=2304, epochs=8, lr=1e-3, bs=128, cam=10., features=10.)  # written out: recipes may change
VALUES = dict(lr=(3e-4, 2e-3), epochs=(4, 16), subset=(576, 1152, 4608), cutoff=(0, .2, PAPER_CUTOFF),
              cam=(0, 1., 50.), ce=(0, .5, 5.), tau=(.3, .7), features=(0, 1., 50.),
              T=(4.,), bs=(32, 64), promote=(.01,))

# images of the recipe `best`
IMAGES = dict(n=4608, iters=50, power=1., margin=None, flip=True, alpha=1., centres=0., lr_synth=.25)
PAPER = IMAGES | dict(subset=2304, epochs=8, promote=0.)
PAPER_VALUES = dict(lr=(1e-4, 3e-4, 1e-3), T=(1., 4.), features=(10.,), promote=(.01,))
# four times the steps, and a filter of the paper's CIFAR pictures, D0 = 8
SMALL = PAPER | dict(bs=64, cutoff=.25, lr=3e-4)
SMALL_VALUES = dict(lr=(1e-4, 6e-4), cutoff=(.15, PAPER_CUTOFF), features=(50.,), T=(4.,))
# sixteen times the steps per image, short warm-up
CYCLE = PAPER | dict(epochs=4, bs=16, cutoff=.25, lr=3e-4, schedule='cycle', observe=1)
CYCLE_VALUES = dict(lr=(1e-3,), observe=(4,), schedule=('steps',), bs=(64,), cam=(50.,), ce=(.5,),
                    cutoff=(PAPER_CUTOFF,))

# the quantiser of the paper, another optimiser
ADAM = dict(protocol='paper', subset=2304, epochs=8, bs=64, cam=10., features=0., cutoff=.25, lr=1e-4)
ADAM_VALUES = dict(lr=(3e-4,), features=(50.,), cam=(50.,), cutoff=(.15,))

# what the single changes suggest, together, at full length
FULL = dict(epochs=12, bs=64, features=50., cam=50.)
FULL_VALUES = dict(cutoff=(0,), epochs=(24,), lr=(2e-3,), bs=(32,), ce=(0,))

# two bits (parts `two` and `diverse`, run with --bits 22): more steps; more images
TWO = dict(epochs=24, bs=32)
TWO_VALUES = dict(lr=(2e-3,))
DIVERSE = [dict(n=18432, iters=25, epochs=6)]  # four times the images at half the polish

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         cache:str='runs/cache', # folder for image sets
         seed:int=0, # of images and fine-tuning
         bits:str='33', # W and A bits
         out:str=None, # result file
         part:str='best paper small cycle adam full many' # groups of runs
        ):
    "One change at a time around the base"
    def around(base, values): return [base]+[base|{k:v} for k,vs in values.items() for v in vs]
    parts = dict(best=around(BASE, VALUES), paper=around(PAPER, PAPER_VALUES), small=around(SMALL, SMALL_VALUES),
                 cycle=around(CYCLE, CYCLE_VALUES), adam=around(ADAM, ADAM_VALUES), full=around(FULL, FULL_VALUES),
                 two=around(TWO, TWO_VALUES), diverse=DIVERSE, many=[FULL|dict(n=9216, iters=25, epochs=6)])
    def recipe(p): return 'paper' if p in ('paper', 'small', 'cycle') else 'best'
    specs = [dict(changes=c, recipe=recipe(p), seed=seed) for p in part.split() for c in parts[p]]
    run_all(specs, 'sweeps', weights, cache, out, data=data, wbits=int(bits[0]), abits=int(bits[1]))
