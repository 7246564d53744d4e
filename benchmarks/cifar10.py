"""Accuracy on CIFAR-10 over seeds: protocols `best` and `paper`, and the upper bound with real images.

    python benchmarks/cifar10.py --weights resnet20.safetensors --data test.npz --real train.npz

Writes benchmarks/results/cifar10.json. Image sets and finished rows are kept, so a stopped run continues; `s_synth` and
`s_finetune` are seconds of one process with one thread, one process per core."""
from fastcore.script import call_parse
from bench import run_all
from sweeps import IMAGES

# quantiser and losses of the recipe `paper`, images of the recipe `best`; tutorial 3 says how the rest was settled
PAPER = dict(IMAGES, bs=16, cutoff=.25, lr=3e-4, schedule='cycle', observe=1, cam=50., ce=.5, promote=0.)

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled test images
         real:str='', # .npz of real training images, for the upper bound alone
         model:str='resnet20_cifar10', # zoo name
         real_bits:str='33', # W and A bits of the upper bound
         best:str='44 33 22', # W and A bits with protocol `best`
         paper:str='44 33', # with protocol `paper`
         paper_epochs:int=8, # passes with protocol `paper`; 16 for the second W3A3 rows
         seeds:str='0 1 2', # of images and fine-tuning
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Measure accuracy over seeds"
    def bits(s): return [dict(wbits=int(b[0]), abits=int(b[1])) for b in s.split()]
    specs = [b|dict(recipe='best') for b in bits(best)]
    specs += [b|dict(recipe='paper', changes=PAPER|dict(epochs=paper_epochs)) for b in bits(paper)]
    if real: specs += [b|dict(recipe='best', images=real, changes=dict(subset=4608)) for b in bits(real_bits)]
    specs = [dict(s, seed=int(k)) for s in specs for k in seeds.split()]
    run_all(specs, 'cifar10', weights, cache, out, model=model, data=data)
