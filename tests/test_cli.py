"What a notebook cannot show: real processes, real Ctrl-C"
import json, os, signal, subprocess, sys, time
import numpy as np, pytest, torch
from safetensors.torch import load_file, save_file
from synq_nb.zoo import CifarResNet, DigitsNet, digits_teacher

SYNQ = [sys.executable, '-c', 'import sys; from synq_nb.cli import main; sys.exit(main())']
ENV = dict(os.environ, OMP_NUM_THREADS='1')

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher')/'digits.safetensors'
    save_file(digits_teacher(epochs=4).state_dict(), path)
    return path

def synq(*args, **kw): return subprocess.run(SYNQ+[str(a) for a in args], capture_output=True, text=True, env=ENV, **kw)
def quantize_args(weights, out, *more): return ['quantize', '--model', 'digits', '--weights', weights, '--wbits', 3, '--abits', 3, '--n', 768, '--iters', 40, '--epochs', 8, '--out', out, *more]

def interrupt(args, when):
    "Start `synq`, press Ctrl-C once `when()` holds, and return its exit status and messages"
    p = subprocess.Popen(SYNQ+[str(a) for a in args], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.time()+120
    while not when() and p.poll() is None and time.time()<end: time.sleep(.02)
    p.send_signal(signal.SIGINT)
    return p.communicate(timeout=60)[1],p.returncode

def test_stopped_twice_and_continued(weights, tmp_path):
    whole,cut = tmp_path/'whole',tmp_path/'cut'
    done = synq(*quantize_args(weights, whole)); assert done.returncode==0, done.stderr
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/synth.safetensors').exists)
    assert code==130 and 'continues' in err
    n = len(load_file(cut/'parts/synth.safetensors')['y']); assert 0<n<768
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/finetune.pt').exists)
    assert code==130 and not (cut/'model.safetensors').exists()
    assert 'not finished' in synq('eval', cut).stderr
    again = synq(*quantize_args(weights, cut)); assert again.returncode==0, again.stderr
    a,b = (load_file(d/'model.safetensors') for d in (whole, cut))
    assert a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert 'finished already' in synq(*quantize_args(weights, cut)).stdout
    refused = synq(*quantize_args(weights, cut, '--seed', 1))
    assert refused.returncode==2 and 'another run (seed 0)' in refused.stderr
    measured = synq('eval', cut); assert measured.returncode==0 and measured.stdout.count('/898')==4  # student, packed, ONNX, teacher
    run = json.loads((cut/'run.json').read_text())
    assert all((cut/f).exists() for f in ('packed.safetensors', 'model.onnx', 'report.html'))
    assert run['finished'] and {'torch', 'synq_nb'} <= run['versions'].keys() and run['final']['agreement']>.5
    assert {p.stem for p in (cut/'figures').iterdir()}=={'images', 'spectra', 'difficulty', 'cam', 'loss'}

def test_bad_input_is_one_line(weights, tmp_path):
    np.savez(tmp_path/'bad.npz', x=np.zeros((2,3,8,8)), y=[0,1])
    pickled = tmp_path/'model.pt'; torch.save(DigitsNet(), pickled)
    save_file(CifarResNet().state_dict(), tmp_path/'r20.safetensors')
    cases = [(('eval', tmp_path/'nothing'), 'no run at'), (('quantise',), 'no command'),
             (quantize_args(pickled, tmp_path/'a'), 'plain tensors'),
             (quantize_args(tmp_path/'r20.safetensors', tmp_path/'a'), 'missing: body.0.weight'),
             (('quantize', '--model', 'resnet21', '--out', tmp_path/'a'), 'expected one of'),
             (('quantize', '--model', 'torchvision:resnet18', '--weights', weights, '--size', 32, '--out', tmp_path/'a'), 'does not fit'),
             (quantize_args(weights, tmp_path/'a', '--recipe', 'slow'), 'one of')]
    for args,text in cases:
        r = synq(*args)
        assert r.returncode==2 and text in r.stderr and 'Traceback' not in r.stderr, (args, r.stderr)
    assert not (tmp_path/'a/model.safetensors').exists()
