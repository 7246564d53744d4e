"""How OpenVINO runs our files: convolutions and linear layers by precision, weights stored as INT4 and as bytes.

    pip install openvino && python benchmarks/openvino_layers.py

Weights are random, W4A8, rounded without fine-tuning. `same` counts the images, of 16, that OpenVINO and ONNX Runtime
decide alike. Milliseconds are those of an image in batches of 8, one thread. Writes
benchmarks/results/openvino.json."""
import tempfile, time
from collections import Counter
from pathlib import Path
import numpy as np, openvino, torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, images_hash, machine
from synq_nb.all import *
from zoo import settle

NAMES = 'torchvision:mobilenet_v2 torchvision:resnet18'

def compiled(file): return openvino.Core().compile_model(str(file), 'CPU', {'INFERENCE_NUM_THREADS': 1})

def precisions(net):
    "How many convolutions and linear layers run in which precision"
    def of(op, key): return str(op.get_rt_info()[key].astype(str))
    layers = [op for op in net.get_runtime_model().get_ops() if 'layerType' in op.get_rt_info()]
    kinds = [(of(op, 'layerType'), of(op, 'runtimePrecision')) for op in layers]
    return dict(Counter(precision for kind,precision in kinds if kind in ('Convolution', 'FullyConnected')))

def measure(net, file, x):
    "One row"
    def answer(): return torch.cat([torch.from_numpy(np.asarray(net(part.numpy())[0])) for part in x.split(8)])
    logits = answer()
    start = time.perf_counter()
    for _ in range(3): answer()
    ms = 1000*(time.perf_counter()-start)/3/len(x)
    same = (logits.argmax(1)==in_batches(OnnxClassifier(file), x).argmax(1)).sum().item()
    return dict(layers=precisions(net), same=same, n=len(x), ms=round(ms, 2), bytes=file.stat().st_size)

@call_parse
def main(names:str=NAMES, # of models
         out:str=None # result file
        ):
    "Export each network twice, and look at what OpenVINO makes of it"
    torch.set_num_threads(1)
    rows = []
    for name in names.split():
        torch.manual_seed(0)
        card = model_card(name)
        teacher = settle(card.load(trained=False), (3, *card.size))
        x = torch.randn(16, 3, *card.size)
        ints = convert(calibrate(quantize(teacher, 4, 8), x), x)
        with tempfile.TemporaryDirectory() as folder:
            for int4 in (True, False):
                file = export_onnx(ints, Path(folder)/f'{int4}.onnx', x[:4], int4=int4)
                rows.append(dict(model=name, stored='INT4' if int4 else 'bytes', **measure(compiled(file), file, x),
                                 images_hash=images_hash(x), openvino=openvino.__version__, versions=VERSIONS,
                                 **machine()))
                print({k: rows[-1][k] for k in ('model', 'stored', 'layers', 'same', 'ms')}, flush=True)
    write_json(Path(out or RESULTS/'openvino.json'), dict(rows=rows))
