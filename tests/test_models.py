"Models as people bring them: quantised, written to ONNX, packed and read back, and left as they were"
import copy, pytest, torch, torch.nn as nn
from synq_nb.cam import cam_layer
from synq_nb.core import autocast, blocks, in_batches, logits_of, spatial_outputs, teacher_hash
from synq_nb.integers import convert, load_packed, pack
from synq_nb.learner import synq_learner
from synq_nb.quantize import calibrate, load_student, quant_summary, quantize, save_student
from synq_nb.recipes import zero_shot_quantize
from synq_nb.runtime import OnnxClassifier, export_onnx
from synq_nb.synthesize import synthesize
from synq_nb.zoo import SmallViT

def convolutions():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
                         nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

class Net(nn.Module):
    "A classifier whose answer is changed by `answer`, with more modules registered before and after its own"
    def __init__(self, answer=lambda z: z, before=(), after=()):
        super().__init__()
        for name,module in before: self.add_module(name, module)
        self.answer,self.body = answer,convolutions()
        if 'head' not in dict(before): self.head = nn.Linear(8, 10)
        for name,module in after: self.add_module(name, module)
    def forward(self, x): return self.answer(self.head(self.body(x)))

def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))

class Grouped(nn.Module):
    "A convolutional network that normalises groups of channels, and remembers nothing"
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.GELU())
        self.head = nn.Linear(8, 10)
    def forward(self, x): return self.head(self.body(x).mean((2,3)))

class ChannelsLast(nn.Module):
    "Squares of the image with their channels last, as in Swin, and attention of torch's own kind"
    def __init__(self):
        super().__init__()
        self.patch,self.norm,self.head = nn.Conv2d(3, 16, 4, 4),nn.LayerNorm(16),nn.Linear(16, 10)
        self.mlp,self.mix = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)),nn.MultiheadAttention(16, 2)
    def forward(self, x):
        x = self.norm(self.patch(x).permute(0, 2, 3, 1))
        x = x+self.mlp(x)
        t = x.flatten(1, 2).transpose(0, 1)
        return self.head(self.mix(t, t, t, need_weights=False)[0].mean(0))

def as_dict(z): return {'logits': z, 'more': z}
def as_tuple(z): return z,None
def as_map(z): return z[...,None,None]

MODELS = {'a dictionary': lambda: Net(as_dict), 'a tuple': lambda: Net(as_tuple), '1×1 maps': lambda: Net(as_map),
          'head first': lambda: Net(before=[('head', nn.Linear(8, 10))]),
          'unused head': lambda: Net(after=[('aux', nn.Linear(8, 10))]),
          'bfloat16': lambda: Net().bfloat16(), 'float16': lambda: Net().half(), 'float64': lambda: Net().double(),
          'compiled': lambda: torch.compile(Net()), 'no feature map': flat, 'group norm': Grouped,
          'vision transformer': lambda: SmallViT(16, 4, 16, 2, 2, 10, 3), 'channels last': ChannelsLast}
QUICK = dict(size=16, n=16, batch_size=16, iters=2, epochs=1, bs=4, progress=False)

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', MODELS)
def test_the_whole_way(name, tmp_path):
    torch.manual_seed(0)
    model = MODELS[name]()
    before = teacher_hash(model),{p.dtype for p in model.parameters()},[m.training for m in model.modules()]
    learn = zero_shot_quantize(model, 4, 4, 'fast', **QUICK)
    learn.model.cpu()
    assert (teacher_hash(model),{p.dtype for p in model.parameters()},[m.training for m in model.modules()])==before
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    x = torch.randn(32, 3, 16, 16)
    device_model = learn.to_onnx(tmp_path/'m.onnx')
    named = in_batches(device_model, x).argmax(1)
    assert (in_batches(OnnxClassifier(tmp_path/'m.onnx'), x).argmax(1)==named).float().mean()>=.9
    arch = copy.deepcopy(getattr(model, '_orig_mod', model)).float().eval()
    save_student(learn.model, tmp_path/'s.safetensors')
    assert torch.equal(in_batches(load_student(arch, tmp_path/'s.safetensors')[0], x), in_batches(learn.model, x))
    pack(device_model, tmp_path/'p.safetensors')
    assert torch.equal(in_batches(load_packed(tmp_path/'p.safetensors', arch), x), in_batches(device_model, x))

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name,more', [('head first', {}), ('unused head', dict(aux=32))])
def test_first_and_last_layer_are_those_that_compute_first_and_last(name, more):
    layers = quant_summary(zero_shot_quantize(MODELS[name](), 4, 4, 'fast', **QUICK).model)
    assert dict(zip(layers.layer, layers.wbits))=={'body.0': 8, 'body.3': 4, 'head': 8, **more}

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('model,says', [
    (lambda: nn.Sequential(convolutions(), nn.Linear(8, 1)), 'got (2, 1)'),
    (lambda: Net(lambda z: {'a': z, 'b': z}), 'a dict of a, b'),
    (lambda: torch.jit.script(nn.Sequential(convolutions(), nn.Linear(8, 10))), 'of Python code'),
    (lambda: nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.Flatten(), nn.Linear(8, 10)), 'rejects inputs')])
def test_what_cannot_be_quantised_says_so(model, says):
    with pytest.raises(ValueError) as e: zero_shot_quantize(model(), 4, 4, 'fast', **QUICK)
    assert says in str(e.value)

def test_logits_are_found():
    z = torch.randn(2, 3)
    assert all(torch.equal(logits_of(f(z)), z) for f in (as_dict, as_tuple, as_map))

def test_batchnorm_follows_if_it_is_asked_for():
    "From answers that are those of the rounded network; the teacher is left alone"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8),
                          nn.BatchNorm2d(8, affine=False), nn.Flatten(), nn.Linear(128, 4)).eval()
    model[1].running_mean[0] = .5
    before = teacher_hash(model)
    images = synthesize(model, 64, 8, 2, progress=False)
    plain,learn = (synq_learner(model, images, 3, 3, bs=16, follow=f) for f in (0., 1.))
    x,start = learn.seen(32),learn.model[1].running_mean.clone()
    assert not hasattr(plain, 'follow_bn') and not torch.equal(start, plain.model[1].running_mean)
    assert torch.allclose(in_batches(learn.model, x), in_batches(plain.model, x), atol=1e-3)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    assert not torch.equal(learn.model[1].running_mean, start)
    assert torch.equal(learn.model[4].running_mean, model[4].running_mean)  # nothing could have made up for a change
    assert teacher_hash(model)==before

def test_channels_of_one_size():
    "Depthwise channels are scaled unless it is refused; the teacher is left, and the answers of its copy are the same"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.LeakyReLU(), nn.Conv2d(8, 16, 3, groups=8),
                          nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)).eval()
    model[1].weight.data,model[1].running_mean[0] = torch.logspace(-1, 1, 8),.5
    before,images = teacher_hash(model),synthesize(model, 64, 8, 2, progress=False)
    for bits,on,changed in ((8, True, True), (8, False, False), (4, True, True), (4, False, False)):
        learn = synq_learner(model, images, bits, bits, equalized=on)
        assert torch.equal(learn.model[3].weight, model[3].weight)!=changed
        x = torch.randn(4, 3, 8, 8)
        assert torch.allclose(learn.teacher.teacher(x), model(x), atol=1e-4)
    assert teacher_hash(model)==before

def test_an_answer_of_several_parts_reaches_onnx(tmp_path):
    "From the packed file, whose architecture is rebuilt without `returns_logits`, and from the float model"
    net,x = Net(lambda z: {'features': z[:,:3], 'logits': z}).eval(),torch.randn(32, 3, 16, 16)
    pack(convert(calibrate(quantize(net, 4, 4), x), x), tmp_path/'p.safetensors')
    for model in (load_packed(tmp_path/'p.safetensors', net), net):
        onnx_model = OnnxClassifier(export_onnx(model, tmp_path/'m.onnx', x))
        assert (in_batches(onnx_model, x).argmax(1)==in_batches(model, x).argmax(1)).float().mean()>=.9

def test_the_map_of_a_vision_transformer_of_timm():
    "Not a head's queries or keys, which are (N, heads, tokens, numbers) and have modules of their own"
    timm = pytest.importorskip('timm')
    small = dict(img_size=32, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=10)
    model,x = timm.models.vision_transformer.VisionTransformer(**small).eval(),torch.randn(2, 3, 32, 32)
    assert cam_layer(model, x)==('blocks.1.norm1', (8,8))
    assert blocks(model, x)[-1]=='blocks.1' and len(set(spatial_outputs(model, x).values()))==1

@pytest.mark.parametrize('real', [True, False])
def test_emulated_bfloat16_is_not_used(real, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_bf16_supported', lambda including_emulation=True: real or including_emulation)
    monkeypatch.setattr('torch.autocast', lambda kind, dtype, enabled: enabled)
    assert autocast('cuda')==real
