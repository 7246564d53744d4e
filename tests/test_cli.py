"What a notebook cannot show: real processes, real Ctrl-C, other people's models and files"
import json, os, re, signal, subprocess, sys, time
import numpy as np, pytest, torch
from PIL import Image
from safetensors.torch import load_file, save_file
from synq_nb.cli import main
from synq_nb.runs import Run
from synq_nb.zoo import CifarResNet, DigitsNet, digits_teacher, model_card

SYNQ = [sys.executable, '-c', 'import sys; from synq_nb.cli import main; sys.exit(main())']
ENV = dict(os.environ, OMP_NUM_THREADS='1')
FIGURES = {'images', 'spectra', 'difficulty', 'cam', 'loss'}

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher')/'digits.safetensors'
    save_file(digits_teacher(epochs=4).state_dict(), path)
    return path

def synq(*args, env={}, **kw):
    return subprocess.run(SYNQ+[str(a) for a in args], capture_output=True, text=True, env=ENV|env, **kw)

def quantize_args(weights, out, *more):
    return ['quantize', '--model', 'digits', '--weights', weights, '--wbits', 3, '--abits', 3, '--n', 768,
            '--iters', 40, '--epochs', 8, '--out', out, *more]

def interrupt(args, when):
    "Start `synq`, press Ctrl-C once `when()` holds, and return its exit status and messages"
    # a background job inherits SIGINT as ignored; the child hears it again
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    p = subprocess.Popen(SYNQ+[str(a) for a in args], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         preexec_fn=hear)
    end = time.time()+120
    while not when() and p.poll() is None and time.time()<end: time.sleep(.02)
    p.send_signal(signal.SIGINT)
    return p.communicate(timeout=60)[1],p.returncode

def test_stopped_twice_and_continued(weights, tmp_path):
    whole,cut = tmp_path/'whole',tmp_path/'cut'
    done = synq(*quantize_args(weights, whole))
    assert done.returncode==0, done.stderr
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/synth.safetensors').exists)
    assert code==130 and 'continues' in err
    n = len(load_file(cut/'parts/synth.safetensors')['y'])
    assert 0<n<768
    (cut/'.model.onnx.99999999.tmp').touch()  # what a killed process leaves behind
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/finetune.pt').exists)
    assert code==130 and not (cut/'model.safetensors').exists()
    assert 'not finished' in synq('eval', cut).stderr
    again = synq(*quantize_args(weights, cut))
    assert again.returncode==0, again.stderr
    a,b = (load_file(d/'model.safetensors') for d in (whole, cut))
    assert a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not [p for p in cut.rglob('*') if p.name.endswith('.tmp') or p.name=='finetune.pt']
    assert 'finished already' in synq(*quantize_args(weights, cut)).stdout
    refused = synq(*quantize_args(weights, cut, '--seed', 1))
    assert refused.returncode==2 and 'another run (seed 0)' in refused.stderr
    measured = synq('eval', cut, env={'PYTHONIOENCODING': 'ascii'})  # no dash in this terminal
    assert measured.returncode==0 and measured.stdout.count('/898')==4, measured.stderr  # student, packed, ONNX, teacher
    run,whole = Run.load(cut).record,Run.load(whole).record
    assert all((cut/f).exists() for f in ('packed.safetensors', 'model.onnx', 'report.html'))
    assert run['finished'] and {'torch', 'synq_nb'} <= run['versions'].keys() and run['final']['agreement']>.5
    assert all(run['seconds'][k]>.4*s for k,s in whole['seconds'].items()), (run['seconds'], whole['seconds'])
    assert {p.stem for p in (cut/'figures').iterdir()}==FIGURES

def test_killed_before_the_end(weights, tmp_path, monkeypatch):
    "Whatever was written last, the same command completes the folder, the CAM figure included"
    out,args = tmp_path/'run',[str(a) for a in quantize_args(weights, tmp_path/'run', '--n', 256, '--iters', 5, '--epochs', 1)]
    def killed(*args, **kwargs): raise KeyboardInterrupt
    for step,exists in (('_draw', 'parts/finetune.pt'), ('_write_files', 'model.safetensors'), ('write_report', 'model.onnx')):
        with monkeypatch.context() as m:
            m.setattr(Run, step, killed)
            assert main(args)==130 and (out/exists).exists() and not (out/'report.html').exists()
        assert not Run.load(out).record['finished']
    assert main(args)==0 and Run.load(out).record['finished']
    assert (out/'report.html').exists() and not (out/'parts/finetune.pt').exists()
    assert {p.stem for p in (out/'figures').iterdir()}==FIGURES

def test_bad_input_is_one_line(weights, tmp_path):
    pickled = tmp_path/'model.pt'
    torch.save(DigitsNet(), pickled)
    save_file(CifarResNet().state_dict(), tmp_path/'r20.safetensors')
    a = tmp_path/'a'
    cases = [(('eval', tmp_path/'nothing'), 'no run at'), (('quantise',), 'no command'),
             (quantize_args(pickled, a), 'plain tensors'),
             (quantize_args(tmp_path/'r20.safetensors', a), 'missing: body.0.weight'),
             (('quantize', '--model', 'resnet21', '--out', a), 'expected one of'),
             (('quantize', '--model', 'torchvision:resnet18', '--weights', weights, '--size', 32, '--out', a), 'does not fit'),
             (quantize_args(weights, a, '--recipe', 'slow'), 'one of'),
             (quantize_args(weights, a, '--lr', '-1'), 'lr')]
    for args,text in cases:
        r = synq(*args)
        assert r.returncode==2 and text in r.stderr and 'Traceback' not in r.stderr, (args, r.stderr)
        assert len(r.stderr.splitlines())==1, r.stderr
    assert not a.exists()

def test_rejected_options_leave_no_folder(weights, tmp_path, capsys):
    for more in ('--wbits 9', '--epochs -1', '--n 4', '--cutoff -1', '--cam -5', '--size 0', '--size 9,x', '--mean 0.5,0.5',
                 '--set tau', '--set tua=0.1', '--set canvas=stone', '--labels nowhere'):
        assert main([str(a) for a in quantize_args(weights, tmp_path/'a', *more.split())])==2, more
        assert not (tmp_path/'a').exists(), more

def test_unforeseen_errors_are_no_success(weights, tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs): raise KeyError('a slip')
    monkeypatch.setattr(Run, 'load', broken)
    assert main(['info', str(tmp_path)])==1 and 'KeyError' in capsys.readouterr().err
    monkeypatch.setenv('SYNQ_DEBUG', '1')
    with pytest.raises(KeyError): main(['info', str(tmp_path)])

NET = '''
import torch.nn as nn, torch.nn.functional as F
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a,self.b = nn.Conv2d(3, 8, 3, bias=False),nn.Conv2d(8, 16, 3, bias=False)
        self.n,self.m,self.head = nn.BatchNorm2d(8),nn.BatchNorm2d(16),nn.Linear(16, 3)
    def forward(self, x): return self.head(F.relu(self.m(self.b(F.relu(self.n(self.a(x)))))).mean((2,3)))
'''

@pytest.fixture
def images(tmp_path):
    "Twelve images of three classes, as .npz, and as a folder of JPEGs of different sizes"
    rng = np.random.default_rng(0)
    np.savez(tmp_path/'t.npz', x=rng.integers(0, 256, (12,3,32,32), dtype=np.uint8), y=np.arange(12)%3)
    for i in range(12):
        folder = tmp_path/f'photos/{i%3}'
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40+5*i,64-i,3), dtype=np.uint8)).save(folder/f'{i}.jpg')
    return tmp_path

@pytest.mark.parametrize('name', ('torchvision:resnet18', 'timm:resnet10t', 'own_net:Net'))
def test_the_whole_road(name, images, monkeypatch, capsys):
    "quantize, eval, export, eval of the files, info, report: for models that the zoo does not know"
    if name.startswith('timm'): pytest.importorskip('timm')
    monkeypatch.chdir(images)
    monkeypatch.delitem(sys.modules, 'own_net', raising=False)
    own = name=='own_net:Net'
    if own: (images/'own_net.py').write_text(NET)
    torch.manual_seed(0)
    torch.save(model_card(name).build().state_dict(), 'w.pth')
    (images/'labels.txt').write_text('left\nright\n<b>up</b>\n')
    more = ['--mean', '0.5,0.5,0.5', '--std', '0.2,0.2,0.2', '--labels', 'labels.txt', '--set', 'ce=0.2', 'canvas=pixels'] if own else []
    args = [*f'quantize --model {name} --weights w.pth --size 32 --n 16 --iters 2 --epochs 1 --out run'.split(), *more]
    def road(text, *trust):
        code = main([*text.split(), *trust])
        said = capsys.readouterr()
        assert code==0, (text, said.err)
        return said.out
    assert main(args)==0, capsys.readouterr().err
    trust = ['--model', name] if own else []
    for data in ('t.npz', 'photos'):
        assert road(f'eval run --data {data}', *trust).count('/12 ')+0==4
    assert '/12' in road('eval run/packed.safetensors --data photos', *trust)
    road('export run --to other.onnx --opset 18', *trust)
    assert '/12' in road('eval other.onnx --data photos') and name in road('info run')
    run = Run.load('run')
    assert run.options['size']==[32, 32] and not run.record['missing'] and '/ 12' in (images/'run/report.html').read_text()
    if not own: return
    assert run.options['mean']==[.5]*3 and run.options['labels'][1]=='right' and not run.card(name).transform is None
    for command in ('eval run --data t.npz', 'eval run/packed.safetensors --data t.npz', 'export run'):
        assert main(command.split())==2 and '--model own_net:Net' in capsys.readouterr().err

def test_a_file_may_not_choose_code(weights, tmp_path, monkeypatch, capsys):
    "A module named in a received run is neither imported nor called"
    monkeypatch.chdir(tmp_path)
    (tmp_path/'evil.py').write_text('open("harm", "w").close()\ndef net(): pass\n')
    out = tmp_path/'run'
    assert main([str(a) for a in quantize_args(weights, out, '--n', 256, '--iters', 2, '--epochs', 1)])==0
    record = json.loads((out/'run.json').read_text())
    record['options']['model'] = 'evil:net'
    (out/'run.json').write_text(json.dumps(record))
    capsys.readouterr()
    assert main(['eval', str(out)])==2 and 'say so with --model evil:net' in capsys.readouterr().err
    Run.load(out).write_report()
    assert not (tmp_path/'harm').exists() and 'evil' not in sys.modules

def test_damaged_records_are_named(weights, tmp_path, capsys):
    "Whatever stands in run.json: a result, or one sentence with the name of the file"
    out = tmp_path/'run'
    assert main([str(a) for a in quantize_args(weights, out, '--n', 256, '--iters', 2, '--epochs', 1)])==0
    whole = (out/'run.json').read_text()
    def damaged(record, path, value):
        for key in path[:-1]: record = record[key]
        record.pop(path[-1], None) if value is ... else record.update({path[-1]: value})
    paths = [(k,) for k in json.loads(whole)]+[('options', k) for k in json.loads(whole)['options']]
    for path in paths:
        for value in (..., None, 'x', 7, [], {}, ['<script>'], 1e999):
            record = json.loads(whole)
            damaged(record, path, value)
            (out/'run.json').write_text(json.dumps(record))
            for command in (['info', str(out)], ['eval', str(out), '--weights', str(tmp_path)]):
                code = main(command)
                said = capsys.readouterr().err
                assert code==0 or code==2 and said.count('\n')==1, (path, value, said)
            assert '<script>' not in (out/'report.html').read_text(), path
    for text in ('', '[', '[]', '{}', '"x"', '['*9999, '\udcff'*0+'{"options": {}}'):
        (out/'run.json').write_text(text)
        assert main(['info', str(out)])==2 and re.search(r'run\.json', capsys.readouterr().err), text
