"""How long one waits for a device's files: `synq quantize` as it is typed, from a checkpoint to the last file.

    python benchmarks/clock.py --weights resnet20.safetensors --data test_8983.npz

Seconds are those of a clock, for the whole program, its start included, on all cores and with nothing else running.
`seconds` are those of the two stages alone. `synq eval` counts afterwards, untimed. Finished rows are kept. Writes
benchmarks/results/clock.json."""
import json, os, subprocess, sys, tempfile, time
from pathlib import Path
from fastcore.script import call_parse
from bench import RESULTS, Rows, SyntheticDataset, images_hash

def synq(*words): subprocess.run([sys.executable, '-m', 'synq_nb', *map(str, words)], check=True)

@call_parse
def main(weights:Path=None, # checkpoint of the teacher
         data:Path=None, # .npz of labelled images
         model:str='resnet20_cifar10', # zoo name
         bits:str='44 33', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         out:Path=RESULTS/'clock.json' # result file
        ):
    "Time the default settings"
    rows = Rows(out)
    for seed,(w,a) in [(int(s), b) for s in seeds.split() for b in bits.split()]:
        key = dict(model=model, wbits=int(w), abits=int(a), seed=seed)
        if rows.has(key): continue
        with tempfile.TemporaryDirectory() as folder:
            run,start = Path(folder)/'run',time.perf_counter()
            asked = '--model', model, '--weights', weights, '--wbits', w, '--abits', a, '--seed', seed
            synq('quantize', *asked, '--out', run)
            wall = time.perf_counter()-start
            synq('eval', run, '--data', data)
            record = json.loads((run/'run.json').read_text())
            images = SyntheticDataset.load(run/'parts/synth.safetensors')
        counts = {name: {k: acc[k] for k in 'kn'} for name,acc in record['accuracy'].items()}
        keep = {k: record[k] for k in ('seconds', 'versions', 'threads')} | record['machine']
        clocked = dict(wall=round(wall, 1), cores=os.cpu_count(), accuracy=counts, images_hash=images_hash(images))
        rows.add(key | clocked | keep)
        print(key, rows[-1]['wall'], counts, flush=True)
