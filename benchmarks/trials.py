"""Ways to lose less at few bits that were tried on development networks and are no settings of the library.

A specification names them in its `changes`:
- `drop`: probability with which a value of an activation passes unrounded in training (QDrop, ICLR 2022);
- `stages`: bits that are fine-tuned first, for half of the epochs, as the start of the final ones (ParetoQ, 2025);
- `leaves`: dead-leaves pictures in the training set, beside the synthetic images (Baradad et al., NeurIPS 2021);
- `renorm`: True: BatchNorm statistics of the rounded student, from synthetic images, instead of the teacher's;
- `average`: decay of a moving average of the student, which is kept in the end;
- `equalise`: True: each channel between the two convolutions of a block is first scaled to the same range, and the
  weights behind it inversely, so that one grid fits all (Nagel et al., ICCV 2019); training may change the scales."""
import math
import torch
from fastai.callback.core import Callback
from synq_nb.all import *
from synq_nb.quantize import ActQuantizer

TRIALS = 'drop', 'stages', 'leaves', 'renorm', 'average', 'equalise'

class DropRounding(Callback):
    "Let each value of each activation pass unrounded with probability `p` in training"
    def __init__(self, p): self.p = p
    def before_fit(self):
        quantisers = [m for m in self.model.modules() if isinstance(m, ActQuantizer)]
        self.hooks = [m.register_forward_hook(self.mix) for m in quantisers]
    def mix(self, module, args, out):
        if self.learn.training: return torch.where(torch.rand_like(out)<self.p, args[0], out)
    def after_fit(self):
        for h in self.hooks: h.remove()
    release = after_fit

class Average(Callback):
    "Keep a moving average of the student's parameters, and end with it"
    order = 90
    def __init__(self, decay): self.decay = decay
    def before_fit(self): self.mean = {k: v.clone() for k,v in self.model.named_parameters()}
    def after_step(self):
        for k,v in self.model.named_parameters(): self.mean[k].lerp_(v.detach(), 1-self.decay)
    def after_train(self):
        if self.epoch<self.n_epoch-1: return
        with torch.no_grad():
            for k,v in self.model.named_parameters(): v.copy_(self.mean[k])

def dead_leaves(n, size, seed, leaves=120):
    "Shaded discs and boxes that hide one another, radii with density r^-3: edges and flat areas like photographs"
    gen = torch.Generator().manual_seed(seed)
    def draw(*shape): return torch.rand(n, *shape, generator=gen)
    y,x = torch.meshgrid(torch.arange(size)+.5, torch.arange(size)+.5, indexing='ij')
    small,large = (size/24)**-2,(size/1.5)**-2
    images = draw(3, 1, 1).expand(n, 3, size, size)
    for _ in range(leaves):
        radius,turn,flat = (small+draw(1, 1)*(large-small))**-.5,draw(1, 1)*math.pi,.5+.5*draw(1, 1)
        dy,dx = y-size*draw(1, 1),x-size*draw(1, 1)
        p,q = (dy*turn.cos()-dx*turn.sin())/flat,(dy*turn.sin()+dx*turn.cos())*flat
        box = torch.maximum(p.abs(), q.abs())<.9*radius
        inside = torch.where(draw(1, 1)<.5, box, p**2+q**2<radius**2)
        shade = (draw(3, 1, 1)-.5)*(p/size)[:,None]
        images = torch.where(inside[:,None], (draw(3, 1, 1)+shade).clamp(0, 1), images)
    return images

def with_leaves(images, teacher, card, n, seed):
    "The data set with `n` dead-leaves pictures added at random places, labelled by the teacher"
    mean,std = (torch.tensor(v)[:,None,None] for v in (card.mean, card.std))
    x = (dead_leaves(n, images.x.shape[-1], 100+seed)-mean)/std
    y = in_batches(teacher, middle_window(x, *images.meta['shape'][1:])).argmax(1)
    order = torch.randperm(len(images)+n, generator=torch.Generator().manual_seed(seed))
    return SyntheticDataset(torch.cat([images.x, x.half()])[order], torch.cat([images.y, y])[order], images.meta)

def renormalise(learn):
    "Statistics of every BatchNorm of the student, layer after layer, from the images it sees"
    x = learn.seen(256).to(learn.dls.device)
    norms = [m for m in learn.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    def measure(module, args):
        module.running_mean.copy_(args[0].mean((0,2,3)))
        module.running_var.copy_(args[0].var((0,2,3)))
    hooks = [m.register_forward_pre_hook(measure) for m in norms]
    with torch.no_grad(): learn.model(x)
    for h in hooks: h.remove()
    calibrate(learn.model, x)

def equalise(learn):
    "Start with channels of the same range, by the statistics of BatchNorm, between the convolutions of a block"
    net = dequantize(learn.model)
    with torch.no_grad():
        for block in (m for m in net.modules() if hasattr(m, 'conv2')):
            bn = block.bn1
            top = (bn.bias+3*bn.weight.abs()).clamp(min=1e-3)
            top /= top.log().mean().exp()
            for p in (bn.weight, bn.bias): p /= top
            block.conv2.weight *= top[:,None,None]
    learn.model = quantize(net, learn.model.quantization)
    calibrate(learn.model, learn.seen(256))

def staged(learn, teacher, images, stage, seed, learner, fit):
    "Replace the student of `learn` by one that starts from weights fine-tuned at the bits of `stage`"
    first = synq_learner(teacher, images, *stage, seed=seed, **learner)
    fit_learner(first, progress=False, **fit | dict(epochs=fit['epochs']//2))
    learn.model = quantize(dequantize(first.model), learn.model.quantization)
    calibrate(learn.model, learn.seen(256))
    return fit | dict(epochs=fit['epochs']-fit['epochs']//2)
