"""Accuracy of `synq quantize` on a CIFAR-10 model, over seeds, from nothing to result.

    python benchmarks/cifar10.py --weights resnet20.safetensors --data test.npz

Each row is one `synq quantize` process with default options. Rows already in the result file are kept, so a stopped
run continues. The images in --data are read after quantisation, to count correct answers."""
import json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path
from fastcore.script import call_parse
from synq_nb.cli import load_run, write_json
from synq_nb.zoo import evaluate, load_images, load_model

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz or folder of labelled images
         model:str='resnet20_cifar10', # zoo name
         bits:str='44 33', # W and A bits of each setting
         seeds:str='0 1 2', # seeds of each setting
         extra:str='', # more options of `synq quantize`, for all rows
         out:str=str(Path(__file__).parent/'results/cifar10.json') # result file
        ):
    "Measure accuracy over seeds"
    out = Path(out); rows = json.loads(out.read_text())['rows'] if out.exists() else []
    test = load_images(data); t = evaluate(load_model(model, weights), test)
    for wa in bits.split():
        for seed in seeds.split():
            key = dict(model=model, wbits=int(wa[0]), abits=int(wa[1]), seed=int(seed), extra=extra)
            if any(all(r.get(k)==v for k,v in key.items()) for r in rows): continue
            tmp = Path(tempfile.mkdtemp()); start = time.perf_counter()
            cmd = [sys.executable, '-c', 'import sys; from synq_nb.cli import main; sys.exit(main())', 'quantize', '--model', model, '--wbits', wa[0],
                   '--abits', wa[1], '--seed', seed, '--out', str(tmp/'run'), *(['--weights', weights] if weights else []), *extra.split()]
            subprocess.run(cmd, check=True)
            total = time.perf_counter()-start
            student,_ = load_run(tmp/'run'); run = json.loads((tmp/'run/run.json').read_text()); o = run['settings']
            a = evaluate(student, test)
            rows.append(key | dict(protocol=o['protocol'], recipe=run['options']['recipe'], ideas=o['ideas'], n_synth=o['n'], steps=o['steps'], k=a.k, n=a.n, teacher_k=t.k,
                                   agree=run['final']['agreement'], s_synth=run['seconds']['synthesize'], s_finetune=run['seconds']['finetune'], s_total=round(total, 1),
                                   cores=os.cpu_count(), versions=run['versions'], teacher=run['options']['teacher'], data=Path(data).name))
            print(f'{model} W{wa[0]}A{wa[1]} seed {seed}: {a}, teacher {t}, {total:.0f} s', flush=True)
            out.parent.mkdir(parents=True, exist_ok=True); write_json(out, dict(rows=rows)); shutil.rmtree(tmp)
