"""From a checkpoint to counted files, with the commands that anybody would type.

    python benchmarks/command_line.py --weights mobilenet_v2.safetensors --data val_1300

`synq quantize` and `synq eval` run as programs of their own, on the ImageNet photographs after the first `first` by
name; nothing was chosen on these. With `openvino` installed, that runtime counts the ONNX file too. Finished runs are
kept. Writes benchmarks/results/command_line.json."""
import csv, json, shlex, subprocess, sys
from importlib.util import find_spec
from pathlib import Path
import numpy as np, torch
from fastcore.script import call_parse
from torch.utils.data import DataLoader
from bench import RESULTS, Rows, images_hash
from synq_nb.all import *

def photographs(data, first, folder):
    "A folder whose table names the photographs that count"
    with open(data/'labels.csv', newline='', encoding='utf-8') as f: rows = list(csv.DictReader(f))[first:]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder/'labels.csv', 'w', newline='', encoding='utf-8') as f:
        table = csv.DictWriter(f, ['file', 'label'])
        table.writeheader()
        table.writerows(dict(file=(data/r['file']).resolve(), label=r['label']) for r in rows)
    return folder

def synq(*words):
    "Run a command, from the folder where `mobilenet_v1:card` is found"
    subprocess.run([sys.executable, '-m', 'synq_nb', *map(str, words)], check=True, cwd=Path(__file__).parent)

def openvino_count(file, images):
    "What OpenVINO recognises with an ONNX file"
    import openvino
    net = openvino.Core().compile_model(str(file), 'CPU', {'INFERENCE_NUM_THREADS': 1})
    right = [(np.asarray(net(x.numpy())[0]).argmax(1)==y.numpy()).sum() for x,y in DataLoader(images, 50)]
    return dict(k=int(sum(right)), n=len(images), version=openvino.__version__)

@call_parse
def main(weights:Path=None, # checkpoint of the teacher
         data:Path=None, # folder of images and labels.csv
         model:str='torchvision:mobilenet_v2', # as `synq quantize` takes it
         bits:str='88 48', # W and A bits
         n:int=512, # synthetic images
         epochs:int=12, # of fine-tuning
         first:int=300, # photographs, by name, that do not count
         folder:Path=Path('runs/command_line'), # of the runs
         out:Path=RESULTS/'command_line.json' # result file
        ):
    "Quantise, count, and note what was typed"
    torch.set_num_threads(1)
    rows,folder = Rows(out),folder.resolve()
    count = photographs(data, first, folder/'photographs')
    for w,a in bits.split():
        key = dict(model=model, wbits=int(w), abits=int(a), n_images=n, epochs=epochs)
        if rows.has(key): continue
        run = folder/f"{model.split(':')[model.startswith('torchvision')]}-{w}{a}"
        words = shlex.split(f'quantize --model {model} --wbits {w} --abits {a} --n {n} --epochs {epochs} --threads 1 '
                            '--set batch_size=128')
        synq(*words, '--weights', weights.resolve(), '--out', run)
        synq('eval', run, '--data', count, '--model', model)
        record = json.loads((run/'run.json').read_text())
        counts = {name: {k: acc[k] for k in 'kn'} for name,acc in record['accuracy'].items()}
        if find_spec('openvino'):
            images = load_images(count, model_card(model), 1000)
            counts['model.onnx in OpenVINO'] = openvino_count(run/'model.onnx', images)
        typed = [shlex.join(['synq', *words, '--weights', weights.name, '--out', 'RUN']),
                 'synq eval RUN --data PHOTOGRAPHS']
        keep = 'final', 'doubts', 'seconds', 'files', 'missing', 'versions', 'threads'
        made = images_hash(SyntheticDataset.load(run/'parts/synth.safetensors'))
        rows.add(key | dict(commands=typed, accuracy=counts, use='report', images_hash=made) | record['machine'] |
                    {k: record.get(k) for k in keep})
        print(model, w, a, counts, flush=True)
