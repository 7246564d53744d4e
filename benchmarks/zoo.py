"""Architectures by name, at their real size: quantised, fine-tuned for two steps, exported, and compared with the file.

    pip install -e ".[models]" && python benchmarks/zoo.py

Weights are random, with BatchNorm statistics settled by a few forwards, so the numbers are times, memory and what is
quantised, and no accuracies. `onnx_gap` is the largest difference of a logit, as a share of their range. Each
network has a process of its own, with one thread. Writes benchmarks/results/zoo.json; rows that are there already are
kept, so a stopped command continues."""
import resource, tempfile, time, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
import torch, torch.nn as nn
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, finished_rows, finite, images_hash, machine
from synq_nb.all import *

PAPER = ('pytorchcv:resnet20_cifar10 pytorchcv:resnet20_cifar100 pytorchcv:resnet18 pytorchcv:resnet50 '
         'pytorchcv:mobilenetv2_w1 timm:deit_tiny_patch16_224 timm:deit_small_patch16_224 '
         'timm:swin_tiny_patch4_window7_224 timm:swin_small_patch4_window7_224')
MORE = ('torchvision:vgg11_bn torchvision:squeezenet1_1 torchvision:googlenet torchvision:inception_v3 '
        'torchvision:densenet121 torchvision:shufflenet_v2_x1_0 torchvision:mnasnet1_0 torchvision:mobilenet_v3_large '
        'torchvision:efficientnet_b0 torchvision:regnet_y_400mf torchvision:convnext_tiny torchvision:vit_b_32 '
        'torchvision:resnext50_32x4d timm:resnetv2_50x1_bit timm:ghostnet_100 timm:mobilevit_xxs timm:levit_128s '
        'timm:repvgg_a0 timm:mixer_s32_224 timm:poolformer_s12 timm:hrnet_w18_small timm:dla34')

def settle(model, shape, n=16):
    "Give random weights the BatchNorm statistics of some forwards"
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms: m.train()
    with torch.no_grad():
        for _ in range(10): model(torch.randn(n, *shape, device=next(model.parameters()).device))
    return model.eval()

class Clock:
    "Seconds of a block"
    def __enter__(self):
        self.start = time.perf_counter()
        return self
    def __exit__(self, *exc): self.seconds = time.perf_counter()-self.start

def measure(name, bs):
    "One network, the whole way"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter('ignore')
    card = model_card(name)
    model = card.load(trained=False)
    shape,n_out = infer_io(model, card.size)
    model = settle(model, shape)
    with Clock() as synthesis: images = synthesize(model, 2*bs, card.size, 2, bs, progress=False, device='cpu')
    learn = synq_learner(model, images, 4, 8, bs=bs, device='cpu')
    with Clock() as fitting: fit_learner(learn, 2, 1e-4, progress=False)
    steps = 2*len(learn.dls.train)
    layers = quant_summary(learn.model)
    left = layers[layers.wbits.isin([32])]
    row = dict(params=sum(p.numel() for p in model.parameters()), size=list(card.size), classes=n_out,
               layers=len(layers), left_in_float={k: v.split(': ')[-1] for k,v in zip(left.layer, left.how)},
               share_quantised=1-left.weights.sum()/layers.weights.sum(), cam_layer=learn.cam_align.layer,
               terms=list(images.meta['terms']), images_hash=images_hash(images), s_synthesis_step=synthesis.seconds/4,
               s_fit_step=fitting.seconds/steps)
    x = images.images(8)
    with tempfile.TemporaryDirectory() as tmp, Clock() as exporting:
        ints = learn.to_onnx(Path(tmp)/'m.onnx')
        file = OnnxClassifier(Path(tmp)/'m.onnx')
        theirs,ours = in_batches(file, x),in_batches(ints, x)
        same = (theirs.argmax(1)==ours.argmax(1)).sum().item()
        gap = finite(((theirs-ours).abs().max()/(ours.max()-ours.min())).item())
        row |= dict(onnx_same=same, onnx_n=len(x), onnx_gap=gap, onnx_mb=(Path(tmp)/'m.onnx').stat().st_size/2**20,
                    float_in_onnx=len(float_layers(Path(tmp)/'m.onnx')))
    return row | dict(s_export=exporting.seconds)

def attempt(name, bs):
    "A row, or the sentence that says why there is none"
    try: row = measure(name, bs)
    except Exception as e: row = dict(error=f'{type(e).__name__}: {e}'[:400])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
    return dict(model=name, batch=bs, **row, peak_gib=peak, versions=VERSIONS, **machine())

@call_parse
def main(names:str=f'{PAPER} {MORE}', # of models, as `synq quantize` takes them
         bs:int=8, # images of a batch
         workers:int=1, # networks at the same time
         out:str=None # result file
        ):
    "Try each network"
    out = Path(out or RESULTS/'zoo.json')
    rows = Rows(out)
    todo = [name for name in names.split() if not rows.has(dict(model=name, batch=bs))]
    with ProcessPoolExecutor(workers, get_context('spawn'), max_tasks_per_child=1) as pool:
        for row in finished_rows(pool, workers, attempt, todo, bs):
            rows.add(row)
            result = row.get('error') or f"{row['onnx_same']} of {row['onnx_n']}"
            print(row['model'], result, f"{row['peak_gib']:.1f} GiB", flush=True)
