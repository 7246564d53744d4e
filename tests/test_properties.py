"What must hold for any tensor: quantiser, filter, maps, difficulty, packing and converter"
import os
import torch, torch.nn as nn
from hypothesis import given, settings, strategies as st
from synq_nb.all import *
from synq_nb.quantize import int_range, mse_qparams, range_qparams, fake_quantize, flat_range
from synq_nb.integers import pack_bits, unpack_bits

settings.register_profile('many', database=None, deadline=None, max_examples=1500)
settings.register_profile('same', derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile(os.environ.get('SYNQ_PROPERTIES', 'same'))
BITS,SEEDS = st.integers(2, 8),st.integers(0, 2**31)

def normal(seed, *shape): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

@st.composite
def tensors(draw):
    "Rows of values: ordinary, constant, nearly zero, huge, one-sided, with an outlier"
    x = normal(draw(SEEDS), draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    kinds = (lambda x: x, lambda x: x*0, lambda x: x*0+draw(st.floats(-100, 100, width=32)), lambda x: x*1e-30,
             lambda x: x*1e30, lambda x: x.abs(), lambda x: -x.abs(), lambda x: torch.where(x==x.max(), x*1e4, x))
    return draw(st.sampled_from(kinds))(x)

@given(tensors(), BITS, st.booleans(), st.booleans(), st.sampled_from([range_qparams, mse_qparams]))
def test_grids(x, bits, signed, per_channel, find):
    rows,lo,hi = flat_range(x, per_channel)
    scale,zero = find(lo, hi, bits, signed) if find is range_qparams else find(x, bits, signed, per_channel)
    qmin,qmax = int_range(bits, signed)
    assert scale.isfinite().all() and (scale>0).all() and ((zero>=qmin) & (zero<=qmax)).all()
    out = fake_quantize(rows, scale, zero, qmin, qmax)
    q = out.double()/scale+zero
    assert (q-q.round()).abs().max()<1e-3 and q.min()>qmin-.01 and q.max()<qmax+.01  # on the grid
    assert torch.allclose(fake_quantize(out, scale, zero, qmin, qmax), out, rtol=1e-6)  # a second time: the same
    inside = (rows>=(qmin-zero)*scale) & (rows<=(qmax-zero)*scale)
    assert ((out-rows).abs()<=scale*.5001)[inside].all()

@given(tensors(), BITS)
def test_the_searched_grid_is_never_worse(x, bits):
    "The search tries the whole range too"
    rows,lo,hi = flat_range(x, True)
    def error(scale, zero):
        return (fake_quantize(rows, scale, zero, *int_range(bits, True))-rows).double().pow(2).mean(1)
    whole,best = error(*range_qparams(lo, hi, bits, True)),error(*mse_qparams(x, bits, True, True))
    assert (best<=whole*(1+1e-5)).all()

@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.floats(.01, 100), st.floats(-3, 3))
def test_the_filter(seed, h, w, cutoff, a):
    x,y = normal(seed, 2, 3, h, w),normal(seed+1, 2, 3, h, w)
    assert torch.allclose(lowpass(a*x+y, cutoff), a*lowpass(x, cutoff)+lowpass(y, cutoff), atol=1e-4)  # linear
    assert torch.allclose(lowpass(x, cutoff).mean((2,3)), x.mean((2,3)), atol=1e-5)  # brightness stays
    assert lowpass(x, cutoff).square().sum()<=x.square().sum()*1.0001  # no frequency grows
    moved = lowpass(x.roll(1, -1), cutoff)
    assert torch.allclose(moved, lowpass(x, cutoff).roll(1, -1), atol=1e-5)  # no place is special
    assert torch.allclose(lowpass(x, 1e6), x, atol=1e-5)

@given(SEEDS, st.integers(1, 5), st.integers(1, 6), st.sampled_from([0, 1e-20, 1, 1e10]))
def test_maps(seed, k, side, size):
    A,weights = size*normal(seed, 3, k, side, side),normal(seed+1, 3, k)
    S = scale_map(saliency(A, weights))
    assert S.shape==(3, side, side) and S.isfinite().all() and S.min()>=0 and S.max()<=1
    if size>=1: assert torch.allclose(scale_map(saliency(7*A, weights)), S, atol=1e-3)  # brightness says nothing

@given(SEEDS, st.integers(2, 8), st.sampled_from([0, 1, 30, 1e4]), st.floats(0, 1), st.floats(0, 1))
def test_difficulty(seed, n_out, size, tau, other):
    logits,pred = size*normal(seed, 6, n_out),normal(seed+1, 6, n_out)
    y = torch.randint(n_out, (6,), generator=torch.Generator().manual_seed(seed))
    d = difficulty(logits, y)
    assert ((d>=0) & (d<=1)).all() and torch.allclose(difficulty(logits+5, y), d, atol=1e-4)
    few,many = (soft_label_loss(pred, y, logits, t) for t in sorted((tau, other)))
    assert 0<=few<=many  # a higher threshold keeps more samples

@given(SEEDS, BITS, st.booleans(), st.lists(st.integers(0, 7), min_size=1, max_size=3))
def test_packing_loses_nothing(seed, bits, signed, shape):
    lo,hi = int_range(bits, signed)
    q = torch.randint(lo, hi+1, shape, generator=torch.Generator().manual_seed(seed))
    packed = pack_bits(q, bits, signed)
    assert len(packed)==-(-q.numel()*bits//8) and torch.equal(unpack_bits(packed, q.shape, bits, signed), q)

@st.composite
def networks(draw):
    "Two convolutions with or without BatchNorm, ReLU and biases, and a linear layer"
    torch.manual_seed(draw(SEEDS))
    a,b = draw(st.integers(1, 6)),draw(st.integers(1, 6))
    def block(i, o):
        conv = nn.Conv2d(i, o, draw(st.sampled_from([1, 3])), draw(st.integers(1, 2)), 1, bias=draw(st.booleans()))
        relus = [nn.ReLU()],[nn.ReLU6()],[]
        return [conv, *[nn.BatchNorm2d(o)]*draw(st.booleans()), *draw(st.sampled_from(relus))]
    net = nn.Sequential(*block(2, a), *block(a, b), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b, 3))
    for m in net:
        if isinstance(m, nn.BatchNorm2d):
            for t in (m.weight, m.bias, m.running_mean): nn.init.normal_(t)
            nn.init.uniform_(m.running_var, .1, 3)
    return net.requires_grad_(False).eval()

@settings(max_examples=20)
@given(networks(), BITS, BITS, SEEDS)
def test_integers_compute_what_the_student_does(net, wbits, abits, seed):
    x = normal(seed, 16, 2, 8, 8)
    student = calibrate(quantize(net, wbits, abits), x)
    ours,theirs = convert(student, x, out_bits=None)(x),student(x)
    size = theirs.abs().max().clamp(min=1e-6)
    assert (ours-theirs).abs().median()<=.01*size  # biases are rounded too
