"""The same work in one process and shared by two: seconds, bytes exchanged, and how good the student is.

    python benchmarks/processes.py && torchrun --nproc-per-node 2 benchmarks/processes.py
    python benchmarks/processes.py --threads 2

The images have to be the same, however many make them. A student is fine-tuned on them with each of a few seeds, and
counted on picture patches. Each call replaces its own rows of benchmarks/results/processes.json."""
import time
import torch
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, Rows, images_hash, machine
from synq_nb.all import *

def timed(f):
    gather(None)  # all start together
    start = time.perf_counter()
    return f(),time.perf_counter()-start

def student_row(teacher, images, test, seed):
    "Fine-tune a student with all three ideas"
    learn = synq_learner(teacher, images, 3, 3, bs=64, seed=seed)
    _,seconds = timed(lambda: fit_learner(learn, 4, 1e-3, progress=False))
    same = len(set(gather(teacher_hash(learn.model))))==1
    learned = sum(p.numel() for p in learn.model.parameters() if p.requires_grad)
    acc,steps = evaluate(learn.model, test),4*len(learn.dls.train)
    return dict(seed=seed, seconds=seconds, steps=steps, gradient_bytes=4*learned, equal_in_all=same,
                held_out_kl=learn.gap()[0], k=acc.k, n=acc.n)

@call_parse
def main(threads:int=1, # of each process
         seeds:str='0 1 2' # of the students
        ):
    "Measure in as many processes as this was started in"
    rank,world = join()
    torch.set_num_threads(threads)
    teacher,test = patches_teacher(),patches_data()[1]
    images,seconds = timed(lambda: synthesize(teacher, 1024, 32, iters=20, batch_size=128, progress=False))
    students = [student_row(teacher, images, test, int(seed)) for seed in seeds.split()]
    if rank: return
    out,which = RESULTS/'processes.json',dict(processes=world, threads=threads)
    rows = [r for r in Rows(out) if {k: r.get(k) for k in which}!=which]
    about = dict(images_hash=images_hash(images), teacher=teacher_hash(teacher), teacher_k=evaluate(teacher, test).k)
    rows.append(which | dict(s_synthesis=seconds, n_images=len(images), students=students) | about |
                dict(versions=VERSIONS, **machine()))
    write_json(out, dict(rows=sorted(rows, key=lambda r: (r['threads'], r['processes']))))
    print(which, f'synthesis {seconds:.1f} s, fine-tuning {[round(s["seconds"], 1) for s in students]} s', about)
