"""Ways to lose less at few bits that were tried on development networks and are no settings of the library.

A specification names them in its `changes`:
- `drop`: probability with which a value of an activation passes unrounded in training (QDrop, ICLR 2022);
- `stages`: bits that are fine-tuned first, for half of the epochs, as the start of the final ones (ParetoQ, 2025);
- `leaves`: dead-leaves pictures in the training set, beside the synthetic images (Baradad et al., NeurIPS 2021);
- `renorm`: True: BatchNorm statistics of the rounded student, from synthetic images, instead of the teacher's;
- `average`: decay of a moving average of the student, which is kept in the end;
- `equalise`: True: each channel between the two convolutions of a block is first scaled to the same range, and the
  weights behind it inversely, so that one grid fits all (Nagel et al., ICCV 2019); training may change the scales;
- `jitter`: strength of random brightness, contrast and colour of each image in training;
- `cutmix`: share of batches in which a box of each image comes from another one (Yun et al., ICCV 2019);
- `light`: strength of the same random changes inside synthesis, where the teacher sees them in every step;
- `against`: weight of the student's error in a second synthesis after half of the epochs, whose images then replace
  half of the first ones (0: other images, made without it);
- `blocks`: probability with which a block of the student is replaced by the teacher's in a training step;
- `thaw`: share of the epochs, from the first, in which BatchNorm uses each batch's statistics and follows them;
- `rebase`: True: BatchNorm starts with the statistics that the teacher has on the synthetic images (chapter 9), from
  which `thaw` goes on; both together are the setting `follow` of the library, but for the number of images;
- `between`: share of the images that are made to lie between two classes (in the spirit of Qimera, NeurIPS 2021);
- `damp`: final weight of the squared distance of all weights from the grid, which keeps them from swinging between two
  of its values; it grows from 0 by a cosine (Nagel et al., ICML 2022);
- `group`: number of images of which the smallest and the largest value are taken, whose means over the batch enter the
  moving average of a range; without it, those of the whole batch do;
- `clip`: True: the weights of each channel are first cut off at the range of the least squared error, so that the
  range from the smallest to the largest is that one; training may widen it;
- `narrow`: weight of the ranges of all weights, in standard deviations of their channel (in the spirit of range
  regularisation, Kundu et al., 2023)."""
import math, random
from functools import partial
from contextlib import contextmanager
from copy import deepcopy
import torch
from fastai.callback.core import Callback
from fasttransform import ItemTransform
from synq_nb import synthesize as synthesize_module
from synq_nb.all import *
from synq_nb.core import autocast
from synq_nb.learner import Refresh
from synq_nb.quantize import ActQuantizer

TRIALS = ('drop', 'stages', 'leaves', 'renorm', 'average', 'equalise', 'jitter', 'cutmix', 'blocks', 'light', 'against',
          'thaw', 'rebase', 'between', 'damp', 'group', 'narrow', 'clip')

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

class Thaw(Callback):
    "Let BatchNorm use the statistics of each batch in the first `share` of the epochs"
    order = FrozenBN.order+1
    def __init__(self, share): self.share = share
    def before_train(self):
        if self.epoch<self.share*self.n_epoch:
            for norm in batchnorms(self.model).values(): norm.train()

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

class Damp(LossTerm):
    "Draw each weight to the value it is rounded to, more and more towards the end"
    label = 'damp'
    def measure(self):
        layers = [m for m in self.model.modules() if hasattr(getattr(m, 'weight_quantizer', None), 'bits')]
        return (1-math.cos(math.pi*self.pct_train))/2*sum(self.apart(m) for m in layers)
    @staticmethod
    def apart(layer):
        q,w = layer.weight_quantizer,layer.weight
        scale,zero = (t.detach() for t in q.qparams(w))
        low,high = ((end+q.offset-zero)*scale for end in (q.qmin, q.qmax))
        return (torch.minimum(torch.maximum(w, low), high)-layer.qweight.detach()).square().sum()

class Narrow(LossTerm):
    "Draw the smallest and the largest weight of each output channel towards the others"
    label = 'narrow'
    def measure(self):
        layers = [m for m in self.model.modules() if hasattr(getattr(m, 'weight_quantizer', None), 'bits')]
        return sum(self.spread(m.weight.flatten(1)) for m in layers)/len(layers)
    @staticmethod
    def spread(w): return ((w.amax(1)-w.amin(1))/w.std(1)).mean()

class Group(Callback):
    "Let the ranges of activations follow those of `n` images at a time, instead of a whole batch"
    def __init__(self, n): self.n = n
    def before_fit(self):
        for q in act_quantizers(self.model): q.observe = partial(self.observe, q)
    @torch.no_grad()
    def observe(self, q, x):
        groups = x.detach().split(self.n)
        ends = torch.stack([torch.stack((g.amin(), g.amax())) for g in groups]).mean(0)
        q.place(*METHODS[q.method].observe(q, ends))
    def after_fit(self):
        for q in act_quantizers(self.model): vars(q).pop('observe', None)
    release = after_fit

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

def clip(learn):
    "Cut the weights off at the ends of the grid with the least squared error"
    with torch.no_grad():
        for m in learn.model.modules():
            q = getattr(m, 'weight_quantizer', None)
            if not hasattr(q, 'bits'): continue
            w = m.weight.flatten(1)
            scale,zero = mse_qparams(w, q.bits, per_channel=True)
            low,high = ((end-zero)*scale for end in (q.qmin, q.qmax))
            m.weight.copy_(w.clamp(low, high).view_as(m.weight))
    calibrate(learn.model, learn.seen(256))

def staged(learn, teacher, images, stage, seed, learner, fit):
    "Replace the student of `learn` by one that starts from weights fine-tuned at the bits of `stage`"
    first = synq_learner(teacher, images, *stage, seed=seed, **learner)
    fit_learner(first, progress=False, **fit | dict(epochs=fit['epochs']//2))
    learn.model = quantize(dequantize(first.model), learn.model.quantization)
    calibrate(learn.model, learn.seen(256))
    return fit | dict(epochs=fit['epochs']-fit['epochs']//2)

def relit(x, s, gen=None):
    "Images with another brightness, contrast and colour each, of strength `s`"
    def draw(f, c=1): return f(len(x), c, 1, 1, generator=gen).to(x.device)
    return x*(1+s*(2*draw(torch.rand)-1))+s*draw(torch.randn)+s/3*draw(torch.randn, x.shape[1])

@contextmanager
def lit(s):
    "Change the light of every image in every step of synthesis"
    plain = synthesize_module.random_window
    def window(x, h, w, rng, flip=True):
        return relit(plain(x, h, w, rng, flip), s, torch.Generator().manual_seed(rng.getrandbits(32)))
    synthesize_module.random_window = window
    try: yield
    finally: synthesize_module.random_window = plain

class Jitter(ItemTransform):
    "Brightness, contrast and colour of each training image, changed at random"
    order = 15
    def __init__(self, strength):
        super().__init__()
        self.strength = strength
    def __call__(self, b, split_idx=None, **kwargs):
        if split_idx!=0: return b
        return (relit(b[0], self.strength), *b[1:])

class CutMix(ItemTransform):
    "A box of each image is another image's, in a share of the training batches"
    order = 19
    def __init__(self, share, seed=0):
        super().__init__()
        self.share,self.rng = share,random.Random(seed)
    def __call__(self, b, split_idx=None, **kwargs):
        if split_idx!=0 or self.rng.random()>=self.share: return b
        x,(h,w) = b[0].clone(),b[0].shape[-2:]
        side = (self.rng.random()*.75)**.5
        bh,bw = max(1, int(h*side)),max(1, int(w*side))
        i,j = self.rng.randrange(h-bh+1),self.rng.randrange(w-bw+1)
        x[...,i:i+bh,j:j+bw] = x[torch.randperm(len(x)).to(x.device)][...,i:i+bh,j:j+bw]
        return (x, *b[1:])

class FloatBlocks(Callback):
    "Let each block of the student be the teacher's with probability `p` in a training step"
    def __init__(self, p): self.p,self.rng = p,random.Random(0)
    def before_fit(self):
        x = self.learn.seen(2).to(self.dls.device)
        teacher,names = self.learn.teacher.teacher,blocks(self.learn.teacher.teacher, x)
        self.hooks = [self.learn.model.get_submodule(n).register_forward_hook(self.swap(teacher.get_submodule(n)))
                      for n in names]
    def swap(self, block):
        def hook(module, args, out):
            if self.learn.training and self.rng.random()<self.p: return block(*args)
        return hook
    def after_fit(self):
        for h in self.hooks: h.remove()
    release = after_fit

def add_trials(learn, on):
    "Add the transforms and callbacks that `on` names"
    for name,tfm in dict(jitter=Jitter, cutmix=CutMix).items():
        if name in on: learn.dls.train.after_batch.add(tfm(on[name]))
    if 'rebase' in on: rebase(learn.model, learn.teacher.teacher, learn.seen(384).to(learn.dls.device))
    for name,cb in dict(drop=DropRounding, blocks=FloatBlocks, average=Average, thaw=Thaw, damp=Damp,
                         group=Group, narrow=Narrow).items():
        if name in on: learn.add_cb(cb(on[name]))

class Against(Term):
    "Make images on which a student errs: minus its KL to the teacher, bounded by -1"
    def __init__(self, student, weight):
        super().__init__(weight)
        self._student = deepcopy(student).eval().requires_grad_(False)
    def loss(self, batch):
        with autocast(batch.x.device, batch.job.amp): logits = self._student(batch.x)
        kl = KLLoss()(logits, None, batch.logits)
        return -kl/(1+kl)

class Between(HardSamples):
    "Class loss in which the last `share` of a batch is wanted between its own class and that of another image"
    def __init__(self, weight=.1, gamma=.5, share=.5):
        super().__init__(weight, gamma)
        self.share = share
    def loss(self, batch):
        y,logits = batch.y,batch.logits.float()
        n = len(y)-int(self.share*len(y))
        part = torch.linspace(.5, 1, len(y)-n, device=y.device)[:,None]  # what the own class gets
        own,other = (torch.nn.functional.one_hot(v[n:], logits.shape[1]) for v in (y, y.roll(1)))
        wanted = part*own+(1-part)*other
        between = torch.nn.functional.kl_div(logits[n:].log_softmax(1), wanted, reduction='none').sum(1)
        return (n*hard_sample_loss(logits[:n], y[:n], self.gamma)+between.sum())/len(y)

TERMS['between'] = Between

class HalfAgainst(Refresh):
    "Replace half of the images by new ones, made against the student, after half of the epochs"
    def __init__(self, teacher, images, args, weight, seed):
        self.teacher,self.images,self.weight,self.seed = teacher,images,weight,seed
        self.args = {k:v for k,v in args.items() if k!='n'}
    def make(self, epoch):
        if epoch==self.n_epoch//2:
            terms = default_terms(self.teacher)
            if self.weight: terms['against'] = Against(self.model, self.weight)
            half = len(self.images)//2
            new = synthesize(self.teacher, half, seed=100+self.seed, terms=terms, progress=False, **self.args)
            both = [torch.cat([getattr(s, k)[:half] for s in (new, self.images)]) for k in 'xy']
            self.images = SyntheticDataset(*both, new.meta)
        return self.images
