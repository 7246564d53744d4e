"""Images for an 8-bit quantiser that does not train: ONNX Runtime's own, and rounding as in this package.

    python benchmarks/calibration.py --weights mobilenet_v2.safetensors --data val_1300

ImageNet photographs from a folder with labels.csv: the first `first` may calibrate (the upper bound), the others count.
Writes benchmarks/results/calibration.json, one row per kind of images and quantiser; finished rows are kept."""
import logging, tempfile
from fastcore.script import call_parse
from onnxruntime.quantization import QuantType, quantize_static
from torch.utils.data import DataLoader, Subset
from bench import *

def stack(data): return next(iter(DataLoader(data, batch_size=len(data))))[0]

def by_onnxruntime(teacher, x, folder):
    "ONNX Runtime's static quantisation: a scale per output channel, weights of 7 bits for processors without VNNI"
    floats,file = Path(folder)/'float.onnx',Path(folder)/'int8.onnx'
    export_onnx(teacher, floats, x[:2])
    quantize_static(floats, file, CalibrationImages(x, floats, 16), per_channel=True, reduce_range=True,
                    activation_type=QuantType.QUInt8)
    return OnnxClassifier(file, 1)

def rounded(wbits, abits):
    "This package's grids, ranges from the images, no training"
    return lambda teacher,x,folder: calibrate(quantize(teacher, wbits, abits), x)

QUANTISERS = {'ONNX Runtime W8A8': by_onnxruntime, 'synq_nb W8A8': rounded(8, 8), 'synq_nb W4A8': rounded(4, 8)}

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # folder of images and labels.csv
         model:str='torchvision:mobilenet_v2', # zoo name
         first:int=300, # images, by name, that may calibrate
         n:int=64, # images to calibrate with
         iters:int=40, # synthesis steps
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Count photographs after calibration with noise, synthetic images and photographs"
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    out,card,teacher = Path(out or RESULTS/'calibration.json'),model_card(model),load_model(model, weights)
    rows = Rows(out)
    files,size = load_images(data, card, 1000),card.size[0]
    test = Subset(files, range(first, len(files)))
    images,seconds = cached_images(teacher, dict(n=n, size=size, iters=iters, batch_size=32), 0, cache)
    sets = {'Gaussian noise': torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)),
            'synthetic': images.images(), 'photographs': stack(Subset(files, range(n)))}
    whole = evaluate(teacher, test)
    for how,make in QUANTISERS.items():
        for name,x in sets.items():
            about = dict(model=model, quantiser=how, images=name, n_images=n, iters=iters)
            if rows.has(about): continue
            with tempfile.TemporaryDirectory() as folder: acc = evaluate(make(teacher, x, folder), test)
            rows.add(about | dict(k=acc.k, n=acc.n, teacher_k=whole.k, s_synth=round(seconds, 1),
                                  images_hash=images_hash(x), versions=VERSIONS, **machine()))
            print(how, name, acc, flush=True)
