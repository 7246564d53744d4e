"""Seconds of a step and peak memory at real size, in bfloat16 and in float32, on a GPU where there is one.

    pip install -e ".[models]" && python benchmarks/gpu.py

A synthesis step optimises `bs` images; a fine-tuning step has the default losses at W4A8. Weights are random. A
synthesis step is the difference of two lengths after a warm-up, a fine-tuning step the median after a warm-up.
`peak_gib` is the GPU's memory. Writes benchmarks/results/gpu.json; finished rows are kept."""
import time
from pathlib import Path
from statistics import median
import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, machine
from synq_nb.all import *
from zoo import Clock, settle

NAMES = 'torchvision:resnet18 torchvision:resnet50 torchvision:mobilenet_v2 timm:deit_tiny_patch16_224'

def wait():
    "Until the device has done what it was told"
    if torch.cuda.is_available(): torch.cuda.synchronize()

class StepTimes(Callback):
    "Remember when each step ended"
    order = 100
    def before_fit(self): self.at = []
    def after_batch(self):
        wait()
        if self.training: self.at.append(time.perf_counter())

def measure(name, bs, amp):
    "One row"
    torch.manual_seed(0)
    if torch.cuda.is_available(): torch.cuda.reset_peak_memory_stats()
    card = model_card(name)
    model = card.load(trained=False)
    shape,_ = infer_io(model, card.size)
    model = settle(model.to(default_device()), shape)
    seconds = []
    for iters in (1, 3, 23):
        with Clock() as clock:
            images = synthesize(model, bs, card.size, iters, bs, progress=False, amp=amp)
            wait()
        seconds.append(clock.seconds)
    images = SyntheticDataset(images.x.repeat(10, 1, 1, 1), images.y.repeat(10), images.meta)
    learn = synq_learner(model, images, 4, 8, bs=bs, amp=amp, cbs=StepTimes())
    fit_learner(learn, 2, 1e-4, progress=False)
    at = learn.step_times.at[2:]
    peak = torch.cuda.max_memory_allocated()/2**30 if torch.cuda.is_available() else None
    return dict(model=name, batch=bs, amp=amp, s_synthesis_step=(seconds[2]-seconds[1])/20,
                s_fit_step=median(b-a for a,b in zip(at, at[1:])), peak_gib=peak, versions=VERSIONS, **machine())

@call_parse
def main(names:str=NAMES, # of models, as `synq quantize` takes them
         bs:int=32, # images of a batch
         out:str=None # result file
        ):
    "Time each network"
    out = Path(out or RESULTS/'gpu.json')
    rows = Rows(out)
    for name in names.split():
        for amp in (True, False):
            if rows.has(dict(model=name, batch=bs, amp=amp)): continue
            rows.add(measure(name, bs, amp))
            print({k: v for k,v in rows[-1].items() if k not in ('versions',)}, flush=True)
