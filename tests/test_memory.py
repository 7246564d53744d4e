"What does not fit into memory goes on in smaller parts, with the same result, and lets go of what did not fit"
import gc, re, weakref
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
import pytest, torch
from synq_nb import learner
from synq_nb.core import SynqError, hooked, in_batches, teacher_hash
from synq_nb.distill import LossTerm
from synq_nb.learner import choose_rounding, fit_learner, layer_io, rebase, synq_learner
from synq_nb.recipes import find_doubts
from synq_nb.runs import _free_bytes
from synq_nb.synthesize import batchnorms, calibration_centres, synthesize
from synq_nb.zoo import digits_teacher

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

def test_logits_in_smaller_batches(teacher):
    x = torch.randn(100, 1, 8, 8)
    assert torch.allclose(in_batches(Small(teacher, 30), x), in_batches(teacher, x), atol=1e-5)
    with pytest.raises(RuntimeError, match='out of memory: 1 images'): in_batches(Small(teacher, 0), x)

def test_a_fit_where_no_forward_of_all_images_fits(teacher):
    small = Small(teacher, 40)
    learn = synq_learner(small, made(small, 512, batch_size=32), 3, 3, bs=32)
    fit_learner(learn, 1, 1e-4, progress=False)
    find_doubts(learn)

def rounded(net, images, stop=None, **kwargs):
    "A learner after adaptive rounding, or after Ctrl-C in front of the layer with the number `stop`"
    learn,choose,calls = synq_learner(net, images, 3, 3, bs=32, **kwargs),learner.choose_rounding,[]
    def press(*args, **kwargs):
        calls.append(1)
        if len(calls)-1==stop: raise KeyboardInterrupt
        return choose(*args, **kwargs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, 'choose_rounding', press)
        with pytest.raises(KeyboardInterrupt) if stop else nullcontext():
            fit_learner(learn, 2, 1e-2, 'adaptive', progress=False)
    return learn,len(calls)

def test_adaptive_rounding_within_memory(teacher):
    small = Small(teacher, 20)
    images = made(small, 64, batch_size=16)
    with pytest.warns(UserWarning, match='going on with 8, and as many'): halved,_ = rounded(small, images)
    few,_ = rounded(small, images, at_once=8)
    assert halved.curve==few.curve and teacher_hash(halved.model)==teacher_hash(few.model)

def test_adaptive_rounding_in_parts(teacher):
    learn = synq_learner(teacher, made(teacher, 128), 3, 3, bs=32)
    x,y = layer_io(learn, 'body.3', learn.seen())
    layers = [deepcopy(learn.model.get_submodule('body.3')) for _ in range(2)]
    whole,parts = (choose_rounding(layer, x, y, 5, at_once=n) for layer,n in zip(layers, (None, 12)))
    assert whole==pytest.approx(parts, rel=1e-4)
    assert torch.allclose(*(layer.bias if layer.bias is not None else layer.weight for layer in layers), atol=1e-5)

def test_adaptive_rounding_that_was_stopped(teacher, tmp_path):
    images = made(teacher, 128)
    (whole,n),(_,first) = rounded(teacher, images),rounded(teacher, images, 2, path=tmp_path/'f.pt')
    again,second = rounded(teacher, images, path=tmp_path/'f.pt')
    assert first-1+second==n
    assert [tuple(row) for row in again.curve]==whole.curve and teacher_hash(again.model)==teacher_hash(whole.model)
    assert rounded(teacher, images, path=tmp_path/'f.pt')[1]==0

def test_rebase_weighs_every_image_alike(teacher):
    x,found = torch.randn(33, 1, 8, 8),{}
    student = deepcopy(teacher)
    rebase(student, teacher, x)
    name,norm = list(batchnorms(teacher).items())[-1]
    with hooked({name: norm}, lambda n, m, args: found.update(x=args[0]), pre=True): in_batches(teacher, x)
    assert torch.allclose(batchnorms(student)[name].running_mean, found['x'].mean((0,2,3)), atol=1e-5)

def test_terms_without_a_label_are_told_apart(teacher):
    class Ones(LossTerm):
        def measure(self): return self.pred.mean()*0+1
    class Twos(Ones): pass
    learn = synq_learner(teacher, made(teacher, 128), 3, 3, terms={}, cbs=[Ones(1.), Twos(2.)])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-4)
    parts = learn.stop_divergence.parts
    assert set(parts)=={'KL', 'Ones', 'Twos'} and parts['Twos']==2*parts['Ones']

def test_memory_held_by_caches_of_files_is_free():
    info = Path('/proc/meminfo')
    if not info.exists(): pytest.skip('only Linux says it there')
    available = 1024*int(re.search(r'MemAvailable:\s+(\d+)', info.read_text())[1])
    assert abs(_free_bytes(torch.device('cpu'))-available) < .1*available
