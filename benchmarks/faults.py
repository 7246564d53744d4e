"""Faults given to runs: kills at random moments of each stage, at each operation on a file, a full disk, two at once.

`trust.py` calls this. Every run is a fork of one process that has imported everything, so that hundreds take minutes.
A fault is survived when the same command afterwards ends well, every file equals that of an undisturbed run byte for
byte, and nothing else lies in the folder. `run.json` and the report name the seconds that the work took, which differ
from run to run: those alone are blanked before the comparison."""
import io, os, random, re, resource, shutil, signal, sys, time
from contextlib import redirect_stdout, suppress
from functools import wraps
import torch
from safetensors.torch import save_file
from synq_nb import cli, recipes, runs
from synq_nb.zoo import digits_teacher

STAGES = {'start': (cli, '_start'), 'preview': (runs.Run, 'plan'), 'synthesis': (recipes, 'synthesize'),
          'fine-tuning': (recipes, 'synq_learner'), 'figures': (runs.Run, '_draw'), 'saving': (runs, 'save_student'),
          'exporting': (runs.Run, '_write_files'), 'report': (runs.Run, 'write_report')}
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL
SECONDS = re.compile(rb'("(?:since|synthesize|finetune)": |<td>(?:synthesize|finetune)</td><td class="n">)[\d.]+')

def command(folder, out):
    small = '--model digits --wbits 3 --abits 3 --epochs 4 --set n=192,iters=24,batch_size=64 --weights'
    return ['quantize', *small.split(), str(folder/'w.safetensors'), '--out', str(out)]

def say_when_entered(owner, name, pipe, number):
    "Replace a function by one that writes its number to a pipe first"
    was = getattr(owner, name)
    @wraps(was)
    def f(*args, **kwargs):
        os.write(pipe, bytes([number]))
        return was(*args, **kwargs)
    setattr(owner, name, f)

def fork(args, log, before=None):
    "Run a command in a process of its own; its id, and the pipe on which it says which stages it enters"
    read,write = os.pipe()
    if pid := os.fork():
        os.close(write)
        return pid,read
    code = 70
    try:
        for s in SIGNALS[1:3]: signal.signal(s, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(log, os.O_WRONLY|os.O_CREAT|os.O_TRUNC)
        for stream in (1, 2): os.dup2(file, stream)
        sys.stdout,sys.stderr = (os.fdopen(os.dup(n), 'w', buffering=1) for n in (1, 2))
        for i,(owner,name) in enumerate(STAGES.values()): say_when_entered(owner, name, write, i)
        if before: before()
        code = cli.main(args)
    finally: os._exit(code)

def ended(pid, pipe):
    "Wait for a process; its exit status, or minus the signal that ended it"
    status = os.waitpid(pid, 0)[1]
    os.close(pipe)
    return os.waitstatus_to_exitcode(status)

def run(args, log, before=None): return ended(*fork(args, log, before))

def contents(out):
    "Every file of a run, with the seconds blanked"
    files = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob('*') if p.is_file()}
    return {name: SECONDS.sub(rb'\1', data) for name,data in files.items()}

def outcome(faults, wrong): return dict(faults=faults, survived=faults-len(wrong), messages=wrong[:9])

class Faults:
    "An undisturbed run to compare with, and ways to disturb another"
    def __init__(self, folder, seed=0):
        self.folder,self.out,self.log,self.rng = folder,folder/'run',folder/'log',random.Random(seed)
        torch.set_num_threads(1)
        save_file(digits_teacher(0, 4).state_dict(), folder/'w.safetensors')
        self.args = command(folder, self.out)
        with redirect_stdout(io.StringIO()): assert cli.main(command(folder, folder/'warm'))==0  # imports what is late
        entered,start = [],time.perf_counter()
        pid,pipe = fork(self.args, self.log)
        while stage := os.read(pipe, 1): entered.append((stage[0], time.perf_counter()-start))
        assert ended(pid, pipe)==0, self.log.read_text()
        ends = [t for _,t in entered[1:]]+[time.perf_counter()-start]
        self.seconds = {n: end-t for (n,t),end in zip(entered, ends)}
        self.want = contents(self.out)

    def clear(self): shutil.rmtree(self.out, ignore_errors=True)

    def wrong(self):
        "Run the same command again; what is wrong afterwards, or None"
        if code := run(self.args, self.log): return f'status {code}: {self.log.read_text()[-300:]}'
        found = contents(self.out)
        if found.keys()!=self.want.keys(): return f'files {sorted(found.keys()^self.want.keys())}'
        differ = [name for name in found if found[name]!=self.want[name]]
        return f'other bytes in {differ}' if differ else None

    def kill(self, number, sig):
        "Send a signal at a random moment of one stage; whether it found the process there"
        self.clear()
        pid,pipe = fork(self.args, self.log)
        while (stage := os.read(pipe, 1)) and stage[0]!=number: pass
        time.sleep(.8*self.rng.random()*self.seconds[number])
        with suppress(ProcessLookupError): os.kill(pid, sig)
        return ended(pid, pipe)!=0

    def kills(self, each, stages='', signals=''):
        "Rows of `each` kills of every stage by every signal, or of those that are named"
        for number,stage in enumerate(STAGES):
            if stages and stage not in stages: continue
            for sig in (s for s in SIGNALS if not signals or s.name in signals):
                hit,wrong = 0,[]
                while hit<each:
                    if not self.kill(number, sig): continue  # it had ended before
                    hit += 1
                    wrong += filter(None, [self.wrong()])
                yield dict(part='kills', stage=stage, signal=sig.name, **outcome(hit, wrong))

    def operations(self, at=None):
        "Count the operations on files below the folder by which Python changes something; kill before number `at`"
        count = 0
        def hook(event, args):
            nonlocal count
            changes = event in ('os.rename', 'os.remove', 'os.mkdir', 'os.rmdir') or event=='open' and 'r'!=args[1]
            if not changes or not str(args[0]).startswith(str(self.out)): return
            count += 1
            if count==at: os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        return lambda: count

    def crashes(self):
        "One row: a SIGKILL before each operation on a file"
        self.clear()
        total,wrong,at = 0,[],1
        while True:
            self.clear()
            if run(self.args, self.log, lambda: self.operations(at))==0: break
            total,at = total+1,at+1
            wrong += [f'operation {at-1}: {w}' for w in [self.wrong()] if w]
        yield dict(part='crashes', stage='any', signal='SIGKILL', **outcome(total, wrong))

    def full(self, each):
        "One row: no file may grow beyond a limit, as on a full disk; each time one sentence, then the same command"
        def limit(n):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
        sizes,wrong,hit = sorted(len(data) for data in self.want.values()),[],0
        while hit<each:
            self.clear()
            n = self.rng.randrange(1, sizes[-1])
            if (code := run(self.args, self.log, lambda: limit(n)))==0: continue
            hit += 1
            said = self.log.read_text().splitlines()[-1:]
            bad = None if code==2 and said and said[0].startswith('synq: ') else f'status {code}: {said}'
            wrong += [f'limit {n}: {w}' for w in [bad, self.wrong()] if w]
        yield dict(part='full disk', stage='any', signal='EFBIG', **outcome(hit, wrong))

    def two(self, each):
        "One row: a second process with the same folder says so, or finds the run finished, and the first is not harmed"
        wrong = []
        for _ in range(each):
            self.clear()
            first = fork(self.args, self.log)
            time.sleep(self.rng.random()*sum(self.seconds.values()))
            other = run(self.args, self.folder/'log2')
            said = (self.folder/'log2').read_text()
            code = ended(*first)
            fine = code==0 and (other==0 or other==2 and 'another process' in said)
            wrong += filter(None, [None if fine else f'status {code}, {other}: {said[-300:]}', self.wrong()])
        yield dict(part='two at once', stage='any', signal='', **outcome(each, wrong))
