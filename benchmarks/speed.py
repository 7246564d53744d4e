"""Seconds per step against the textbook version, in one run, the two in turn.

    python benchmarks/speed.py

Random weights: time does not depend on them. Writes benchmarks/results/speed.json: median seconds `ours_s` and
`reference_s`, and `ratio` = reference/ours. `pays_from` is the number of steps after which compiling has paid for
itself; torch keeps what it compiled, so that later runs of the same network start sooner."""
import copy, resource, statistics, sys, time
from pathlib import Path
from fastai.callback.core import Callback
from fastcore.script import call_parse
from fastai.torch_core import default_device
import textbook
from bench import *
from synq_nb.synthesize import TERMS, SynthesisBatch, SynthesisJob, SpectrumCanvas

class Clock(Callback):
    "Wall-clock seconds of each training batch, data and transforms included"
    order,run_valid = 100,False
    def before_fit(self): self.times = []
    def before_train(self): self.last = None
    def after_batch(self):
        if torch.cuda.is_available(): torch.cuda.synchronize()
        now = time.perf_counter()
        if self.last: self.times.append(now-self.last)
        self.last = now

def timed(f):
    start = time.perf_counter()
    f()
    if torch.cuda.is_available(): torch.cuda.synchronize()
    return time.perf_counter()-start

def dataset(teacher, n):
    g = torch.Generator().manual_seed(0)
    meta = dict(shape=(3,32,32), n_out=10, flip=True, teacher=teacher_hash(teacher), log=[])
    return SyntheticDataset(torch.randn(n, 3, 40, 40, generator=g).half(), torch.arange(n)%10, meta)

def fit(learn, epochs=1):
    clock = Clock()
    with learn.no_bar(), learn.no_logging(): learn.fit(epochs, 1e-5, cbs=clock)
    return clock.times

def in_turn(rounds, ours, reference):
    "Median seconds of each, measured in turn"
    a,b = [],[]
    for _ in range(rounds):
        a += ours()
        b += reference()
    return statistics.median(a),statistics.median(b)

PLAIN = dict(cutoff=None, terms={})
IDEAS = dict(terms=dict(cam=50., ce=.1))

def finetune(teacher, batch, steps, rounds, compiled=False):
    "All three ideas, ours and textbook"
    ds = dataset(teacher, int((steps+1)*batch*1.15))
    learn = synq_learner(teacher, ds, 3, 3, bs=batch, compiled=compiled, **IDEAS)
    student,t,device = copy.deepcopy(learn.model),copy.deepcopy(teacher),learn.dls.device
    t.to(device).requires_grad_(True)
    opt = torch.optim.Adam(student.parameters(), 1e-5)
    x,y = ds.images()[:batch].to(device),ds.y[:batch].to(device)
    fit(learn)
    def book(): return timed(lambda: textbook.finetune_step(student, t, 'layer3', x, y, opt))
    return in_turn(rounds, lambda: fit(learn), lambda: [book() for _ in range(max(2, steps//2))])

def overhead(teacher, batch, steps, rounds, ideas=IDEAS):
    "Plain KL and all three ideas, both ours"
    ds = dataset(teacher, int((steps+1)*batch*1.15))
    plain,full = (synq_learner(teacher, ds, 3, 3, bs=batch, **o) for o in (PLAIN, ideas))
    fit(plain)
    fit(full)
    return in_turn(rounds, lambda: fit(full), lambda: fit(plain))

PAPER = {k:v for k,v in RECIPES['paper'].learner.items() if k!='bs'} | dict(observe=0)

def compiling(teacher, batch, steps, rounds, **kwargs):
    "Seconds that compiling took, and a step as it is and compiled; the default, or with other arguments"
    ds = dataset(teacher, int((steps+1)*batch*1.15))
    plain,fast = (synq_learner(teacher, ds, 3, 3, bs=batch, compiled=c, **kwargs) for c in (False, True))
    torch._dynamo.reset()
    fit(plain)
    start = timed(lambda: fit(fast))
    ours,ref = in_turn(2*rounds, lambda: fit(fast), lambda: fit(plain))
    return start-steps*ours,ours,ref

def synthesis(teacher, batch, rounds):
    device = torch.device(default_device())
    frozen = copy.deepcopy(teacher).to(device, memory_format=torch.channels_last).requires_grad_(False)
    job = SynthesisJob(frozen, (3,32,32), 10, iters=50, device=device)
    terms,y = make_terms({'bn': 1., 'hard': .1}, TERMS),torch.arange(batch)%10
    for term in terms.values(): term.begin(job)
    ours = SynthesisBatch(job, 0, y, SpectrumCanvas, terms)
    loose = copy.deepcopy(teacher).to(device).requires_grad_(True)
    book = textbook.Synthesis(loose, torch.randn(batch, 3, 32, 32, device=device), y.to(device))
    with terms['bn'].watch():
        for _ in range(2):
            ours.step()
            book.step()
        return in_turn(rounds, lambda: [timed(lambda: ours.step())], lambda: [timed(book.step)])

def resident():
    "Memory of this process in MiB"
    statm = Path('/proc/self/statm')
    if not statm.exists(): return float('nan')
    return int(statm.read_text().split()[1])*resource.getpagesize()/2**20

class Memory(Callback):
    "Memory after each epoch"
    def before_fit(self): self.mib = []
    def after_epoch(self): self.mib.append(resident())

def steady(teacher, batch, steps):
    "Steps around number 1,000 against those around number 10, and memory"
    learn = synq_learner(teacher, dataset(teacher, 12*batch), 3, 3, bs=batch)
    learn.add_cb(memory := Memory())
    times = fit(learn, steps//len(learn.dls.train))
    k = max(10, len(times)//20)
    return statistics.median(times[-k:]),statistics.median(times[5:5+k]),memory.mib[1],memory.mib[-1]

@call_parse
def main(steps:int=6, # steps per turn
         rounds:int=5, # turns
         long:int=1000, # steps of the long run, 0 to leave it out
         threads:int=None, # torch threads
         model:str='resnet20_cifar10', # zoo name
         out:str=str(RESULTS/'speed.json') # result file
        ):
    "Measure seconds per step"
    if threads: torch.set_num_threads(threads)
    teacher,rows = load_model(model, trained=False),[]
    def add(what, batch, ours, ref, **more):
        row = dict(what=what, batch=batch, ours_s=round(ours, 4), reference_s=round(ref, 4), ratio=round(ref/ours, 3))
        print(*row.values(), more, flush=True)
        rows.append(row | dict(model=model, threads=torch.get_num_threads(), cores=os.cpu_count(),
                               device=str(default_device()), versions=VERSIONS, **machine(), **more))
        write_json(Path(out), dict(rows=rows))
    for b in (64, 256): add('fine-tuning step, three ideas, against textbook', b, *finetune(teacher, b, steps, rounds))
    add('synthesis step, against textbook', 256, *synthesis(teacher, 256, 2*rounds))
    plain = 'fine-tuning step, three ideas, against plain KL'
    for b in (64, 256): add(plain, b, *overhead(teacher, b, steps, 2*rounds))
    plain = 'fine-tuning step, three ideas and feature alignment, against plain KL'
    add(plain, 256, *overhead(teacher, 256, steps, rounds, {}))
    what = 'fine-tuning step, three ideas, compiled, against textbook'
    for b in (64, 256): add(what, b, *finetune(teacher, b, steps, rounds, True))
    def gain(what, b, **kwargs):
        took,ours,ref = compiling(teacher, b, steps, rounds, **kwargs)
        add(what, b, ours, ref, compile_s=round(took), pays_from=round(took/(ref-ours)) if ref>ours else None)
    what = 'fine-tuning step, three ideas and feature alignment, compiled, against not compiled'
    for b in (32, 64, 256): gain(what, b)
    gain('step of the recipe paper, compiled, against not compiled', 256, **PAPER)
    if long:
        late,early,m0,m1 = steady(teacher, 16, long)
        add(f'step {long}, against step 10', 16, late, early, mib_early=round(m0), mib_late=round(m1))
