"Several processes: the same images as one, the same student up to rounding, and nothing lost when one of them ends"
import json, os, signal, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
import pytest, torch
from safetensors.torch import load_file, save_file
from synq_nb import learner
from synq_nb.core import average
from synq_nb.zoo import digits_teacher

ENV = {**os.environ, 'OMP_NUM_THREADS': '1'}

@pytest.fixture
def command(tmp_path):
    "A small run, without the folder"
    save_file(digits_teacher(0, 1).state_dict(), tmp_path/'w.safetensors')
    options = '--model digits --wbits 3 --abits 3 --epochs 1 --set n=192,iters=4,batch_size=64 --weights'
    return ['-m', 'synq_nb', 'quantize', *options.split(), str(tmp_path/'w.safetensors'), '--out']

def launch(*args, cwd):
    r = subprocess.run([sys.executable, *args], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=300)
    return r.returncode,r.stdout+r.stderr

TWO = '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'
PLAIN = '--num_machines', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no'
ACCELERATE = '-m', 'accelerate.commands.launch', '--multi_gpu', '--num_processes', '2', *PLAIN

def test_two_processes_make_what_one_makes(command, tmp_path):
    # feature alignment is no mean over a batch, and bfloat16 would hide much; two batches of 16 make a step
    exact = '--features', '0', '--set', 'amp=False', '--batch', '16'
    for how,out in (((), 'one'), (ACCELERATE, 'two')):
        code,said = launch(*how, *command, out, *exact, cwd=tmp_path)
        assert code==0, said
    one,two = ((tmp_path/out/'parts/synth.safetensors').read_bytes() for out in ('one', 'two'))
    assert one==two
    one,two = (load_file(tmp_path/out/'model.safetensors') for out in ('one', 'two'))
    for name in one: assert torch.allclose(one[name], two[name], atol=1e-6), name
    assert json.loads((tmp_path/'two/run.json').read_text())['processes']==2
    assert said.count('agreement with the teacher')==1  # the second process says nothing
    again = launch(*TWO, *command, 'two', *exact, cwd=tmp_path)
    assert again[0]==0 and 'finished already' in again[1]

def test_what_follows_the_data_is_equal_in_all(tmp_path):
    script = tmp_path/'fit.py'
    script.write_text("""from synq_nb.all import *
join()
teacher = digits_teacher(0, 1)
images = synthesize(teacher, 256, iters=2, progress=False)
for how in *(dict(protocol='paper', method=m) for m in METHODS), dict(follow=1.):
    learn = synq_learner(teacher, images, 3, 3, **how)
    fit_learner(learn, 2, 1e-3, progress=False)
    assert len(set(gather(teacher_hash(learn.model))))==1, how
    assert len(set(gather(str(learn.curve))))==1, how""")
    code,said = launch(*TWO, str(script), cwd=tmp_path)
    assert code==0, said

def test_gradients_may_lie_in_memory_as_compiled_steps_leave_them(monkeypatch):
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    layer(torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)).square().sum().backward()
    before = layer.weight.grad.clone()
    assert not before.is_contiguous()
    monkeypatch.setattr(learner, 'average', lambda t: t*3)
    shared = learner.SharedBatch()
    shared.learn,shared.world,shared.share = SimpleNamespace(model=layer),2,.5
    shared.before_step()
    assert torch.allclose(layer.weight.grad, 3*before)

@pytest.mark.parametrize('how', [('--recipe', 'paper_fast'), ('--set', 'follow=1')])
def test_the_first_process_tries_a_step_on_its_own(command, tmp_path, how):
    # with ranges, or BatchNorm, that follow the data, and that all processes average in the real fit
    code,said = launch(*TWO, *command, 'two', *how, cwd=tmp_path)
    assert code==0, said

@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason="threads of other systems are not listed there")
def test_no_thread_of_the_group_is_left(tmp_path):
    # such a thread, if it still has a tensor to give back, aborts the end of the program in one of 15 runs
    script = tmp_path/'left.py'
    script.write_text("""import atexit
from pathlib import Path
atexit.register(lambda: print(*[p.read_text().strip() for p in Path('/proc/self/task').glob('*/comm')]))
from synq_nb.core import *
join()
gather(0)
import torch.distributed.nn.functional""")
    code,said = launch(*TWO, str(script), cwd=tmp_path)
    assert code==0 and 'gloo' not in said, said

def stopped(command, out, cwd, stop):
    "Start two processes, call `stop` with the launcher after the first epoch; what they said"
    command = [sys.executable, *TWO, *command, out, '--epochs', '200']
    p = subprocess.Popen(command, cwd=cwd, env=ENV, text=True, stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
                         start_new_session=True)
    start = time.time()
    while not (cwd/out/'parts/finetune.pt').exists() and p.poll() is None and time.time()<start+120: time.sleep(.05)
    stop(p)
    said,_ = p.communicate(timeout=120)
    assert p.returncode!=0, said
    return said

def second_of(launcher):
    "The process of rank 1"
    for child in map(int, Path(f'/proc/{launcher}/task/{launcher}/children').read_text().split()):
        if b'\0RANK=1\0' in Path(f'/proc/{child}/environ').read_bytes(): return child

@pytest.mark.skipif(not Path('/proc/self/environ').exists(), reason='finds the process in /proc')
def test_one_that_dies_ends_all(command, tmp_path):
    said = stopped(command, 'out', tmp_path, lambda p: os.kill(second_of(p.pid), signal.SIGKILL))
    assert 'synq: another process of this program has ended' in said
    assert (tmp_path/'out/parts/finetune.pt').exists()

def test_ctrl_c_stops_all_after_the_same_batch(command, tmp_path):
    said = stopped(command, 'out', tmp_path, lambda p: os.killpg(p.pid, signal.SIGINT))
    assert 'stopped; finished work is kept' in said and 'has ended' not in said

def test_one_mistake_ends_all(command, tmp_path):
    code,said = launch(*TWO, *command, 'bad', '--recipe', 'slow', cwd=tmp_path)
    assert code!=0 and "recipe 'slow'" in said and not (tmp_path/'bad').exists()

@pytest.fixture
def two(monkeypatch):
    "As if this were the first of two processes"
    monkeypatch.setattr('synq_nb.core.processes', lambda: (0, 2))

def test_what_gloo_does_not_know_goes_through_the_processor(two, monkeypatch):
    seen = []
    monkeypatch.setattr('torch.distributed.all_reduce', lambda t: seen.append(t.device.type))
    elsewhere = SimpleNamespace(device=torch.device('meta'), cpu=lambda: torch.ones(2), clone=torch.Tensor)
    assert average(elsewhere).device.type=='meta' and seen==['cpu']
    assert torch.equal(average(torch.ones(2)), torch.full((2,), .5))

def test_another_error_of_an_exchange_keeps_its_message(two, monkeypatch):
    def wrong(t): raise RuntimeError('Invalid scalar type')
    monkeypatch.setattr('torch.distributed.all_reduce', wrong)
    with pytest.raises(RuntimeError, match='Invalid scalar type'): average(torch.ones(2))
