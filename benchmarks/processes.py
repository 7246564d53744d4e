"""Synthesis in one process and shared by several, each with one thread; the images have to be the same.

    python benchmarks/processes.py && torchrun --nproc-per-node 2 benchmarks/processes.py

Adds a row to benchmarks/results/processes.json."""
import json, time
import torch
from bench import RESULTS, VERSIONS, machine
from synq_nb.all import *

rank,world = join()
torch.set_num_threads(1)
teacher = patches_teacher()
gather(None)  # all start together
start = time.perf_counter()
images = synthesize(teacher, 1024, 32, iters=20, batch_size=128, progress=False)
seconds = time.perf_counter()-start
if rank==0:
    out = RESULTS/'processes.json'
    rows = json.loads(out.read_text())['rows'] if out.exists() else []
    row = dict(processes=world, seconds=seconds, n=len(images), images_hash=fingerprint({'x': images.x})[:16],
               versions=VERSIONS, **machine())
    assert all(r['images_hash']==row['images_hash'] for r in rows if r['teacher']==teacher_hash(teacher))
    write_json(out, dict(rows=[*rows, row|dict(teacher=teacher_hash(teacher))]))
    print(world, 'processes:', f'{seconds:.1f} s', row['images_hash'])
