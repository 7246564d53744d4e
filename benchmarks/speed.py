"""Seconds per step against the textbook version, in one run, the two in turn.

    python benchmarks/speed.py

Random weights: time does not depend on them. Writes benchmarks/results/speed.json: median seconds `ours_s` and
`reference_s`, and `ratio` = reference/ours. `pays_from` is the number of steps after which compiling has paid for
itself; torch keeps what it compiled, so that later runs of the same network start sooner. Finished rows are kept."""
import copy, resource, statistics, time
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
    "A step compiled and as it is, and the seconds that compiling took; the default, or with other arguments"
    ds = dataset(teacher, int((steps+1)*batch*1.15))
    plain,fast = (synq_learner(teacher, ds, 3, 3, bs=batch, compiled=c, **kwargs) for c in (False, True))
    for learn in (plain, fast): learn.remove_cb(StopDivergence)  # random weights learn nothing
    torch._dynamo.reset()
    fit(plain)
    start = timed(lambda: fit(fast))
    ours,ref = in_turn(2*rounds, lambda: fit(fast), lambda: fit(plain))
    took = start-steps*ours
    return ours,ref,dict(compile_s=round(took), pays_from=round(took/(ref-ours)) if ref>ours else None)

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
    mib = dict(mib_early=round(memory.mib[1]), mib_late=round(memory.mib[-1]))
    return statistics.median(times[-k:]),statistics.median(times[5:5+k]),mib

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
    teacher,out = load_model(model, trained=False),Path(out)
    rows = Rows(out)
    def add(what, batch, measure, *args, **kwargs):
        about = dict(what=what, batch=batch, model=model, threads=torch.get_num_threads(), device=str(default_device()))
        if rows.has(about): return
        ours,ref,*more = measure(teacher, batch, *args, **kwargs)
        row = dict(ours_s=round(ours, 4), reference_s=round(ref, 4), ratio=round(ref/ours, 3))
        row |= dict(more[0]) if more else {}
        print(what, batch, *row.values(), flush=True)
        rows.add(about | row | dict(cores=os.cpu_count(), versions=VERSIONS, **machine()))
    step = 'fine-tuning step, three ideas'
    for b in (64, 256): add(f'{step}, against textbook', b, finetune, steps, rounds)
    add('synthesis step, against textbook', 256, synthesis, 2*rounds)
    for b in (64, 256): add(f'{step}, against plain KL', b, overhead, steps, 2*rounds)
    add(f'{step} and feature alignment, against plain KL', 256, overhead, steps, rounds, {})
    for b in (64, 256): add(f'{step}, compiled, against textbook', b, finetune, steps, rounds, True)
    compiled = 'compiled, against not compiled'
    for b in (32, 64, 256): add(f'{step} and feature alignment, {compiled}', b, compiling, steps, rounds)
    add(f'step of the recipe paper, {compiled}', 256, compiling, steps, rounds, **PAPER)
    if long: add(f'step {long}, against step 10', 16, steady, long)
