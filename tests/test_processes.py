"Several processes: the same bytes as one"
import os, subprocess, sys
from pathlib import Path
import pytest, torch
from safetensors.torch import save_file
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

def test_two_processes_make_what_one_makes(command, tmp_path):
    for how,out in (((), 'one'), (TWO, 'two')):
        code,said = launch(*how, *command, out, cwd=tmp_path)
        assert code==0, said
    for file in ('parts/synth.safetensors', 'model.safetensors', 'packed.safetensors', 'model.onnx'):
        assert (tmp_path/'one'/file).read_bytes()==(tmp_path/'two'/file).read_bytes(), file
    assert said.count('agreement with the teacher')==1  # the second process says nothing
    again = launch(*TWO, *command, 'two', cwd=tmp_path)
    assert again[0]==0 and 'finished already' in again[1]

def test_one_mistake_ends_all(command, tmp_path):
    code,said = launch(*TWO, *command, 'bad', '--recipe', 'slow', cwd=tmp_path)
    assert code!=0 and "recipe 'slow'" in said and not (tmp_path/'bad').exists()
