"What a notebook cannot show: real processes, real Ctrl-C, other people's models and files"
import json, os, shutil, signal, subprocess, sys, time
import numpy as np, pytest, synq_nb.zoo as zoo, torch
from PIL import Image
from safetensors.torch import load_file, save_file
from synq_nb.cli import main
from synq_nb.learner import FrozenBN
from synq_nb.quantize import load_student
from synq_nb.recipes import zero_shot_quantize
from synq_nb.runs import Run, _Clock, preflight, run_options
from synq_nb.synthesize import SyntheticDataset
from synq_nb.zoo import CifarResNet, DigitsNet, digits_teacher, load_images, model_card

SYNQ = [sys.executable, '-c', 'import sys; from synq_nb.cli import main; sys.exit(main())']
ENV = dict(os.environ, OMP_NUM_THREADS='1')
FIGURES = {'images', 'spectra', 'difficulty', 'cam', 'loss'}

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('teacher')/'digits.safetensors'
    save_file(digits_teacher(epochs=4).state_dict(), path)
    return path

@pytest.fixture(autouse=True)
def one_thread():
    "The same bytes as in the processes of ENV"
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

@pytest.fixture
def synq(capsys):
    "Run a command here: status, output, messages"
    def run(*args):
        code = main([str(a) for a in args])
        return code,*capsys.readouterr()
    return run

def process(*args, env={}):
    "Run a command in a process of its own"
    return subprocess.run(SYNQ+[str(a) for a in args], capture_output=True, text=True, env=ENV|env)

def quantize_args(weights, out, *more):
    return ['quantize', '--model', 'digits', '--weights', weights, '--wbits', 3, '--abits', 3, '--n', 768,
            '--iters', 40, '--epochs', 8, '--out', out, *more]

def tiny_args(weights, out): return quantize_args(weights, out, '--n', 64, '--iters', 2, '--epochs', 1)

def interrupt(args, when):
    "Start `synq`, press Ctrl-C once `when()` holds, and return its messages and exit status"
    def hear(): signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job inherits SIGINT as ignored
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p = subprocess.Popen(SYNQ+[str(a) for a in args], env=ENV, **pipes,
                         preexec_fn=hear)
    end = time.time()+120
    while not when() and p.poll() is None and time.time()<end: time.sleep(.02)
    p.send_signal(signal.SIGINT)
    return p.communicate(timeout=60)[1],p.returncode

def test_stopped_twice_and_continued(weights, tmp_path, synq):
    whole,cut = tmp_path/'whole',tmp_path/'cut'
    assert synq(*quantize_args(weights, whole))[0]==0
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/synth.safetensors').exists)
    assert code==130 and 'continues' in err
    n = len(load_file(cut/'parts/synth.safetensors')['y'])
    assert 0<n<768
    (cut/'.model.onnx.99999999.tmp').touch()  # what a killed process leaves behind
    err,code = interrupt(quantize_args(weights, cut), (cut/'parts/finetune.pt').exists)
    assert code==130 and not (cut/'model.safetensors').exists()
    assert 'not finished' in synq('eval', cut)[2]
    code,_,err = synq(*quantize_args(weights, cut))
    assert code==0, err
    a,b = (load_file(folder/'model.safetensors') for folder in (whole, cut))
    assert a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert not [p for p in cut.rglob('*') if p.name.endswith('.tmp') or p.name=='finetune.pt']
    assert 'finished already' in synq(*quantize_args(weights, cut))[1]
    code,_,err = synq(*quantize_args(weights, cut, '--seed', 1))
    assert code==2 and 'another run (seed 0)' in err
    measured = process('eval', cut, env={'PYTHONIOENCODING': 'ascii'})  # a terminal without a dash
    assert measured.returncode==0, measured.stderr
    assert measured.stdout.count('/898')==4  # student, packed, ONNX, teacher
    run,whole = Run.load(cut).record,Run.load(whole).record
    assert all((cut/f).exists() for f in ('packed.safetensors', 'model.onnx', 'report.html'))
    assert run['finished'] and {'torch', 'synq_nb'} <= run['versions'].keys() and run['final']['agreement']>.5
    assert all(run['seconds'][k]>.3*s for k,s in whole['seconds'].items()), (run['seconds'], whole['seconds'])
    assert {p.stem for p in (cut/'figures').iterdir()}==FIGURES

def test_killed_before_the_end(weights, tmp_path, monkeypatch, synq):
    "Whatever was written last, the same command completes the folder, the CAM figure included"
    out,args = tmp_path/'run',tiny_args(weights, tmp_path/'run')
    def killed(*args, **kwargs): raise KeyboardInterrupt
    moments = dict(_draw='parts/finetune.pt', _write_files='model.safetensors', write_report='model.onnx')
    for step,exists in moments.items():
        with monkeypatch.context() as m:
            m.setattr(Run, step, killed)
            assert synq(*args)[0]==130 and (out/exists).exists() and not (out/'report.html').exists()
        assert not Run.load(out).record['finished']
    assert synq(*args)[0]==0 and Run.load(out).record['finished']
    assert (out/'report.html').exists() and not (out/'parts/finetune.pt').exists()
    assert {p.stem for p in (out/'figures').iterdir()}==FIGURES

TORCH_STOPS = '''
import sys
class Stop:
    def find_spec(name, *args):
        if name=='torch': raise KeyboardInterrupt
sys.meta_path.insert(0, Stop)
from synq_nb.cli import main
sys.exit(main([*sys.argv[1:]]))'''

@pytest.mark.parametrize('args,kept', [(('eval', 'run'), False), (('rerun', 'run'), True)])
def test_ctrl_c_while_torch_is_imported(args, kept):
    r = subprocess.run([sys.executable, '-c', TORCH_STOPS, *args], capture_output=True, text=True, env=ENV)
    assert r.returncode==130 and r.stderr.startswith('\nsynq: stopped') and r.stderr.count('\n')==2, r.stderr
    assert ('continues' in r.stderr)==kept

def test_a_demo_stopped_while_it_counts_goes_on_to_its_comparison(tmp_path, monkeypatch, synq):
    card,out = model_card('digits'),tmp_path/'demo'  # smaller than the patches
    monkeypatch.setattr(zoo, 'model_card', lambda name: card)
    monkeypatch.setattr(zoo, 'patches_data', lambda: (None, card.test_data()))
    def killed(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(zoo, 'evaluate', killed)
        assert synq('demo', '--out', out)[0]==130 and Run.load(out).record['finished']
    code,said,err = synq('demo', '--out', out)
    assert code==0 and 'SynQ recovered' in said and len(Run.load(out).record['accuracy'])==3, err

def test_bad_input_is_one_line(weights, tmp_path, synq):
    pickled,out = tmp_path/'model.pt',tmp_path/'a'
    torch.save(DigitsNet(), pickled)
    save_file(CifarResNet().state_dict(), tmp_path/'r20.safetensors')
    (tmp_path/'own.onnx').mkdir()
    other = [*'quantize --model torchvision:resnet18 --size 32 --out'.split(), out, '--weights', weights]
    cases = [(('eval', tmp_path/'nothing'), 'no run at'), (('eval', tmp_path/'own.onnx'), 'no run at'),
             (('eval', tmp_path/'no.onnx'), 'no file at'), (('eval', tmp_path/'no.tflite'), 'ending in .onnx'),
             (('quantise',), 'no command'), (quantize_args(pickled, out), 'plain tensors'),
             (quantize_args(tmp_path/'r20.safetensors', out), 'missing: body.0.weight'),
             (('quantize', '--model', 'resnet21', '--out', out), 'expected one of'),
             (other, 'does not fit')]
    for args,text in cases:
        code,_,err = synq(*args)
        assert code==2 and text in err and err.count('\n')==1, (args, err)
    r = process(*quantize_args(weights, out, '--recipe', 'slow'))
    assert r.returncode==2 and r.stderr.startswith("synq: recipe 'slow'") and r.stderr.count('\n')==1, r.stderr
    assert not out.exists()

def test_rejected_options_leave_no_folder(weights, tmp_path, synq):
    out,few = tmp_path/'a',tmp_path/'few.txt'
    few.write_text('one name')
    for more in ('--wbits 9', '--epochs -1', '--lr -1', '--n 4', '--iters 0', '--cutoff -1', '--cam -5', '--size 0',
                 '--size 9,x', '--mean 0.5,0.5', '--labels nowhere', '--set tau', '--set tua=0.1', '--set canvas=stone',
                 '--set seed=1', '--set flip=true', '--set lr=high', '--device nowhere', '--threads 0', '--batch 0',
                 '--override fc', '--override nothing=8,8', '--override fc=9,9', '--set opt_func=adam',
                 '--set splitter=x', '--set cbs=x', '--set moms=3', f'--labels {few}'):
        code,_,err = synq(*quantize_args(weights, out, *more.split()))
        assert code==2 and err.count('\n')==1 and not out.exists(), (more, err)

def test_where_and_how_much_at_once(weights, tmp_path, synq):
    args = '--device cpu --threads 1 --batch 8 --override body.3=8,8 body.6=32,32'.split()
    code,out,err = synq(*tiny_args(weights, tmp_path/'run'), *args)
    assert code==0 and '8 images at once' in out, err
    record = Run.load(tmp_path/'run').record
    bits = {row['layer']: row['wbits'] for row in record['layers']}
    assert bits['body.3']==8 and bits['body.6']==32 and record['options']['changes']['at_once']==8
    assert record['settings']['fine-tuning']['bs']==32 and '8 in fine-tuning' in out

def test_a_fit_that_starts_again_says_so(weights, tmp_path, synq):
    code,_,err = synq(*tiny_args(weights, tmp_path/'run'), '--lr', 3)
    assert code==0 and 'synq: fine-tuning failed' in err and 'starts again with lr=0.75' in err, err

@pytest.mark.parametrize('name,says', [('digits', '4 BatchNorm layers'), ('patches_vit', 'without BatchNorm')])
def test_what_would_happen_to_a_model(name, says, synq):
    code,out,err = synq('info', name)
    assert code==0 and says in out and all(f'{word}:' in out for word in ('layers', 'map', 'time', 'memory')), err

def test_unforeseen_errors_are_no_success(tmp_path, monkeypatch, synq):
    def broken(*args, **kwargs): raise KeyError('a slip')
    monkeypatch.setattr(Run, 'load', broken)
    code,_,err = synq('info', tmp_path)
    assert code==1 and 'KeyError' in err and 'SYNQ_DEBUG' in err
    monkeypatch.setenv('SYNQ_DEBUG', '1')
    with pytest.raises(KeyError): synq('info', tmp_path)

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
def test_the_whole_road(name, images, monkeypatch, synq):
    "quantize, eval, export, eval of the files, info, report: for models that the zoo does not know"
    if name.startswith('timm'): pytest.importorskip('timm')
    monkeypatch.chdir(images)
    own,more,trust = name=='own_net:Net',[],[]
    if own:
        (images/'own_net.py').write_text(NET)
        (images/'labels.txt').write_text('left\nright\n<b>up</b>\n')
        monkeypatch.delitem(sys.modules, 'own_net', raising=False)
        more = '--mean 0.5,0.5,0.5 --std 0.2,0.2,0.2 --labels labels.txt --set ce=0.2 canvas=pixels'.split()
        trust = ['--model', name]
    torch.manual_seed(0)
    torch.save(model_card(name).build().state_dict(), 'w.pth')
    def road(command, *more):
        code,out,err = synq(*command.split(), *more)
        assert code==0, (command, err)
        return out
    road(f'quantize --model {name} --weights w.pth --size 32 --n 16 --iters 2 --epochs 1 --out run', *more)
    for data in ('t.npz', 'photos'): assert road(f'eval run --data {data}', *trust).count('/12,')==4
    assert '/12,' in road('eval run/packed.safetensors --data photos', *trust)
    road('export run --to other.onnx --opset 18', *trust)
    assert '/12,' in road('eval other.onnx --data photos') and name in road('info run')
    run = Run.load('run')
    assert run.options['size']==[32, 32] and not run.record['missing']
    assert '/ 12' in (images/'run/report.html').read_text()
    if not own: return
    assert run.options['mean']==[.5]*3 and run.options['labels'][1]=='right'
    assert run.record['settings']['ideas']['soft labels']==.2
    for command in ('eval run --data t.npz', 'eval run/packed.safetensors --data t.npz', 'export run'):
        code,_,err = synq(*command.split())
        assert code==2 and '--model own_net:Net' in err, err

def test_both_modules_are_the_command():
    for module in ('synq_nb', 'synq_nb.cli'):
        said = subprocess.run([sys.executable, '-m', module, '--version'], capture_output=True, text=True)
        assert said.returncode==0 and said.stdout.startswith('synq_nb '), said

def test_tables_of_hugging_face(images, monkeypatch):
    "What `datasets` saved: with parts or without, classes by name or by number; and what is no such table"
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image as Picture, Value
    files = [str(f) for f in sorted((images/'photos').rglob('*.jpg'))]
    card = model_card('resnet20_cifar10').changed(resize=32)
    def saved(kind, labels, column='img', part=None):
        rows = Dataset.from_dict({column: files, 'what': labels}, Features({column: Picture(), 'what': kind}))
        shutil.rmtree(images/'hf', ignore_errors=True)
        (DatasetDict({part: rows}) if part else rows).save_to_disk(images/'hf')
        return images/'hf'
    expected = load_images(images/'photos', card, 10)
    numbers = [y for _,y in expected]
    for kind,labels,part in ((Value('int64'), numbers, None), (ClassLabel(names=list('abcdefghij')), numbers, 'test'),
                             (ClassLabel(names=['cat', 'ship', 'dog']), numbers, 'validation')):
        found = load_images(saved(kind, labels, part=part), card, 10)
        wanted = [3, 8, 5] if 'dog' in getattr(kind, 'names', ()) else range(10)
        assert [y for _,y in found]==[wanted[i] for i in numbers]
        assert all(torch.equal(x, other) for (x,_),(other,_) in zip(found, expected))
    for kind,labels,part,says in ((Value('string'), list(map(str, numbers)), None, 'one of classes'),
                                  (Value('int64'), numbers, 'train', 'called test'),
                                  (Value('int64'), [-1]*12, None, 'labels run from -1'),
                                  (ClassLabel(names=['cat', 'ship', 'dog']), [-1]*12, None, 'labels run from -1')):
        with pytest.raises(ValueError, match=says): load_images(saved(kind, labels, part=part), card, 10)
    (images/'hf/state.json').write_text('{')
    with pytest.raises(ValueError, match='cannot be read'): load_images(images/'hf', card, 10)
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(ValueError, match='pip install datasets'): load_images(images/'hf', card, 10)

def test_a_run_is_repeated_once_and_where_it_can_be(finished, tmp_path, synq):
    record = json.loads((finished/'run.json').read_text())
    (finished/'run.json').write_text(json.dumps(record | dict(device='nowhere')))
    code,_,err = synq('rerun', finished)
    assert code==2 and '--device nowhere' in err and not (tmp_path/'run-again').exists(), err
    code,said,err = synq('rerun', finished, '--device', 'cpu')
    assert code==0 and f'device: nowhere in {finished}, cpu in' in said, err
    code,said,err = synq('rerun', finished, '--device', 'cpu')
    assert code==2 and 'holds a finished repetition' in err and 'same bytes' not in said, err

def test_images_of_another_size_are_refused(weights, tmp_path, images, synq):
    assert synq(*tiny_args(weights, tmp_path/'run'))[0]==0
    np.savez(tmp_path/'big.npz', x=np.zeros((2,1,9,9), np.uint8), y=[0,1])
    for file in ('run', 'run/model.onnx', 'run/packed.safetensors'):
        code,_,err = synq('eval', tmp_path/file, '--data', tmp_path/'big.npz')
        assert code==2 and '9×9 pixels: digits takes 8×8' in err, err

@pytest.fixture
def finished(weights, tmp_path, synq):
    "A small finished run"
    assert synq(*tiny_args(weights, tmp_path/'run'))[0]==0
    return tmp_path/'run'

def test_a_file_may_not_choose_code(finished, tmp_path, monkeypatch, synq):
    "A module named in a received run is neither imported nor called"
    monkeypatch.chdir(tmp_path)
    (tmp_path/'evil.py').write_text('open("harm", "w").close()\ndef net(): pass\n')
    record = json.loads((finished/'run.json').read_text())
    record['options']['model'] = 'evil:net'
    (finished/'run.json').write_text(json.dumps(record))
    code,_,err = synq('eval', finished)
    assert code==2 and 'say so with --model evil:net' in err
    Run.load(finished).write_report()
    assert not (tmp_path/'harm').exists() and 'evil' not in sys.modules

def test_damaged_records_are_named(finished, synq):
    "Whatever stands in run.json: a result, or one sentence with the name of the file"
    whole = (finished/'run.json').read_text()
    def check(text):
        (finished/'run.json').write_text(text)
        for use in (Run.card, Run.student, Run.write_report, lambda run: run.compare(run)):
            try: use(Run.load(finished))
            except ValueError as e: assert 'run.json' in str(e) or 'expected' in str(e), (text, e)
        assert '<script>' not in (finished/'report.html').read_text()
        assert synq('info', finished)[0] in (0, 2)
    record = json.loads(whole)
    for part in (record, record['options'], record['settings']):
        for key,value in list(part.items()):
            for bad in (None, 'x', 7, [], {}, ['<script>'], 1e999):
                part[key] = bad
                check(json.dumps(record))
            del part[key]
            check(json.dumps(record))
            part[key] = value
    for text in ('', '[', '[]', '{}', '"x"', '['*9999, '{"options": {}}'): check(text)

QUICK = dict(size=8, n=64, iters=2, epochs=1)

def test_ctrl_c_in_the_preview_comes_out(monkeypatch):
    "`fit_learner` turns it into an end after the batch, and the preview would go on to the real work"
    measured = _Clock.after_step
    def pressed(self):
        measured(self)
        signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(_Clock, 'after_step', pressed)
    old = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt): preflight(DigitsNet().eval(), 3, 3, **QUICK)
    finally: signal.signal(signal.SIGINT, old)

def test_the_preview_takes_all_settings_of_a_learner():
    assert preflight(DigitsNet().eval(), 3, 3, **QUICK, compiled=True, cbs=[FrozenBN()])

@pytest.fixture
def unfinished(monkeypatch):
    "A run that is about to finish, of 600 images"
    def hold(folder):
        card = model_card('digits')
        teacher,run = digits_teacher(0, 1),Run.open(folder, run_options(card, card.build(), n=600))
        more = dict(flip=False, path=run.parts, progress=False)
        return run,zero_shot_quantize(teacher, 3, 3, **QUICK | dict(n=600), **more)
    return hold

def test_the_student_does_not_wait_for_its_pictures(unfinished, tmp_path, monkeypatch):
    run,learn = unfinished(tmp_path/'run')
    def broken(learn): raise ValueError('no picture')
    monkeypatch.setattr('synq_nb.runs.run_figures', broken)
    with pytest.raises(ValueError, match='no picture'): run.finish(learn)
    assert load_student(DigitsNet(), run.folder/'model.safetensors') and not run.record['finished']

def test_figures_never_hold_all_images(unfinished, tmp_path, monkeypatch):
    run,learn = unfinished(tmp_path/'run')
    most = max(len(learn.dls.valid_ds), 256)
    for name in ('images', 'seen'):
        f = getattr(SyntheticDataset, name)
        def few(*args, f=f):
            assert len(x := f(*args))<=most
            return x
        monkeypatch.setattr(SyntheticDataset, name, few)
    run.finish(learn)

def test_counts_from_before_a_damaged_file_are_kept(finished):
    (finished/'model.onnx').write_bytes(b'damaged')
    with pytest.raises(ValueError, match='model.onnx'): Run.load(finished).measure()
    assert list(Run.load(finished).record['accuracy'])==['student W3A3']
