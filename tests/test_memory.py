"What does not fit into memory goes on in smaller parts, with the same result, and lets go of what did not fit"
import gc, weakref
import pytest, torch
from fastai.callback.core import Callback
from synq_nb.all import *
from synq_nb.core import SynqError, in_batches, teacher_hash
from synq_nb.learner import SCHEDULES, fit_learner, layer_io, rebase, synq_learner
from synq_nb.recipes import find_doubts
from synq_nb.synthesize import batchnorms, calibration_centres, synthesize

@pytest.fixture(scope='module')
def teacher(): return digits_teacher(0, 1)

def made(teacher, n, **kwargs):
    return synthesize(teacher, n, 8, **dict(iters=2, flip=False, amp=False, progress=False) | kwargs)

class Small(torch.nn.Module):
    "A network with room for `most` images"
    def __init__(self, net, most):
        super().__init__()
        self.net,self.most = net,most
    def forward(self, x):
        if len(x)>self.most: raise RuntimeError(f'out of memory: {len(x)} images')
        return self.net(x)

class Fails(torch.autograd.Function):
    "Runs out of memory in a backward of more than `most` images; `left` is whether the next forward finds that graph"
    @staticmethod
    def forward(ctx, x):
        ctx.size,ctx.map = len(x),torch.nn.Identity()
        gc.collect()
        if Fails.failed: Fails.left.append(Fails.failed() is not None)
        return x.clone()
    @staticmethod
    def backward(ctx, grad):
        if ctx.size<=Fails.most: return grad
        Fails.failed = weakref.ref(ctx.map)
        raise RuntimeError(f'out of memory: {ctx.size} images')

class Failing(Small):
    "A network with room for the forward of any number of images, and for the backward of `most`"
    def __init__(self, net, most):
        super().__init__(net, most)
        Fails.most,Fails.failed,Fails.left = most,None,[]
    def forward(self, x): return Fails.apply(self.net(x))

def test_a_shorter_last_batch_in_one_part(teacher):
    whole,parts = (made(teacher, 10, batch_size=8, at_once=n) for n in (None, 4))
    assert torch.allclose(whole.x.float(), parts.x.float(), atol=1e-2)
    assert whole.meta['log'][1]['bn']==pytest.approx(parts.meta['log'][1]['bn'], rel=1e-3)

def test_synthesis_lets_go_of_a_batch_that_was_too_large(teacher):
    failing = Failing(teacher, 8)
    with pytest.warns(UserWarning, match='going on with 8'): made(failing, 16)
    assert Fails.left and not Fails.left[0]

def test_a_fit_lets_go_of_a_batch_that_was_too_large(teacher):
    failing = Failing(teacher, 16)
    learn = synq_learner(failing, made(failing, 256, batch_size=16), 3, 3, bs=32)
    with pytest.warns(UserWarning, match='going on with 16'): fit_learner(learn, 1, 1e-4, progress=False)
    assert Fails.left and not Fails.left[0]

def test_centres_in_parts(teacher):
    (x,stats),(y,parts) = (calibration_centres(teacher, (1, 8, 8), 10, 5, at_once=n) for n in (256, 4))
    assert torch.allclose(x, y, atol=1e-3)
    assert all(torch.allclose(a, b, atol=1e-3) for s,p in zip(stats, parts) for a,b in zip(s, p))

def test_centres_within_memory(teacher):
    terms = dict(bn=1., centres=1.)
    with pytest.warns(UserWarning, match='going on with 5'): few = made(Small(teacher, 6), 10, terms=terms)
    assert torch.equal(few.x, made(teacher, 10, terms=terms, at_once=5).x)

def test_processes_that_find_other_images(teacher, monkeypatch):
    monkeypatch.setattr('synq_nb.synthesize.gather', lambda found: [found, 1])
    with pytest.raises(SynqError, match='do not find the same finished images'): made(teacher, 10)
