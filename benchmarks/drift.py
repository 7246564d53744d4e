"""Thousands of steps, and fifty runs in one process: does anything become slower, grow, or stay behind?

`trust.py` calls this. Time is processor time of one thread, so that other programs do not show. A drift is the slope of
a straight line through 20 averages, in percent of their median per 1,000 steps."""
import gc, os, random, resource, signal, tempfile, threading, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, torch
from fastai.callback.core import Callback
from synq_nb.all import *
from synq_nb.synthesize import TERMS, SpectrumCanvas, SynthesisBatch, SynthesisJob

def resident():
    "Memory of this process in MiB"
    return int(Path('/proc/self/statm').read_text().split()[1])*resource.getpagesize()/2**20

def hooks(*models):
    kinds = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
    return sum(len(getattr(m, kind)) for model in models for m in model.modules() for kind in kinds)

class Marks:
    "Processor seconds, memory and hooks, averaged over equal parts of many steps"
    def __init__(self, models, steps, parts=20): self.models,self.each,self.rows,self.n = models,steps//parts,[],0
    def step(self):
        now = time.process_time()
        if self.n%self.each==0: self.rows.append((now, resident(), hooks(*self.models)))
        self.n += 1

    def row(self):
        times,mib,count = map(np.array, zip(*self.rows))
        seconds,mib = np.diff(times)[1:]/self.each,mib[2:]  # the first part warms up
        def drift(y): return round(float(np.polyfit(np.arange(len(y))*self.each/1000, y, 1)[0]/np.median(y)*100), 2)
        return dict(steps=self.n, s_step=round(float(np.median(seconds)), 4), time_drift=drift(seconds),
                    memory_drift=drift(mib), mib=[round(mib[0]), round(mib[-1])], hooks=[int(count[1]), int(count[-1])])

class Mark(Callback):
    run_valid = False
    def __init__(self, marks): self.marks = marks
    def after_batch(self): self.marks.step()

def fine_tuning(teacher, steps, bs=16):
    g = torch.Generator().manual_seed(0)
    meta = dict(shape=(3,32,32), n_out=10, flip=True, teacher=teacher_hash(teacher), log=[])
    images = SyntheticDataset(torch.randn(20*bs, 3, 40, 40, generator=g).half(), torch.arange(20*bs)%10, meta)
    learn = synq_learner(teacher, images, 3, 3, bs=bs)
    marks = Marks((learn.teacher.teacher, learn.model), steps)
    with learn.no_bar(), learn.no_logging(): learn.fit(-(-steps//len(learn.dls.train)), 1e-5, cbs=Mark(marks))
    return dict(what='fine-tuning, all three ideas', batch=bs, **marks.row())

def synthesis(teacher, steps, n=32):
    frozen = plain_copy(teacher).to(memory_format=torch.channels_last)
    job = SynthesisJob(frozen, (3,32,32), 10, iters=steps, device=torch.device('cpu'))
    terms,y = make_terms({'bn': 1., 'hard': .1}, TERMS),torch.arange(n)%10
    for term in terms.values(): term.begin(job)
    batch,marks = SynthesisBatch(job, 0, y, SpectrumCanvas, terms),Marks((frozen,), steps)
    with terms['bn'].watch():
        for _ in range(steps):
            batch.step()
            marks.step()
    return dict(what='synthesis', batch=n, **marks.row())

def left_behind(teacher):
    "What a run may forget to give back"
    gc.collect()
    files = len(os.listdir('/proc/self/fd'))
    return dict(threads=threading.active_count(), files=files, figures=len(plt.get_fignums()),
                handlers=[str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)], hooks=hooks(teacher),
                training=teacher.training, needs_grad=sum(p.requires_grad for p in teacher.parameters()),
                random=[hash(random.getstate()), hash(np.random.get_state()[1].tobytes()),
                        hash(torch.get_rng_state().numpy().tobytes())],
                precision=str((torch.ones(2, 2)@torch.ones(2, 2)).dtype), weights=teacher_hash(teacher))

def many(runs):
    "Runs in one process, and what differs between the end of the second and of the last"
    card = model_card('digits')
    teacher = card.load()
    options = run_options(card, teacher, None, wbits=3, abits=3, n=64, iters=4, epochs=1)
    seen,mib = [],[]
    with tempfile.TemporaryDirectory() as folder:
        for i in range(runs):
            Run.open(Path(folder)/str(i), options).quantize(teacher, progress=False)
            seen.append(left_behind(teacher))
            mib.append(resident())
    late = mib[len(mib)//4:]
    grown = round(float(np.polyfit(range(len(late)), late, 1)[0]), 2)
    differ = [k for k,v in seen[1].items() if seen[-1][k]!=v]
    return dict(part='many runs', runs=runs, checked=list(seen[0]), differ=differ, mib_a_run=grown,
                mib=[round(late[0]), round(late[-1])])

def drifts(steps):
    torch.set_num_threads(1)
    teacher = load_model('resnet20_cifar10', trained=False)
    for f in (fine_tuning, synthesis): yield dict(part='drift', model='resnet20_cifar10', **f(teacher, steps))
