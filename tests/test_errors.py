"Errors that no chapter shows: each says what was wrong, and is a SynqError"
import json, sys
from dataclasses import replace
import numpy as np, onnx, pytest, torch
from synq_nb.all import *
from synq_nb.cli import main
from synq_nb.core import SynqError, _together, save_tensors
from synq_nb.runs import Run, run_options
from synq_nb.zoo import evaluate, model_card, read_state_dict

@pytest.fixture
def here(tmp_path, monkeypatch):
    "A folder with files that are not what they should be, and a module"
    monkeypatch.chdir(tmp_path)
    torch.save([1, 2], 'list.pt')
    save_tensors({'a': torch.zeros(2)}, 'other.safetensors', {'kind': 'nothing'})
    (tmp_path/'finetune.pt').write_bytes(b'half a file')
    (tmp_path/'photos').mkdir()
    (tmp_path/'photos/labels.csv').write_text('name,class\na.png,cat\n')
    (tmp_path/'made_here.py').write_text('def number(): return 7\ndef net():\n    import torch\n'
                                         '    return torch.nn.Conv2d(3, 2, 8)\n')
    yield tmp_path
    sys.modules.pop('made_here', None)

def damaged_checkpoint():
    teacher = digits_teacher(0, 1)
    images = synthesize(teacher, 64, 8, iters=1, flip=False, progress=False)
    fit_learner(synq_learner(teacher, images, 3, 3, path='finetune.pt'), 1, 1e-3, progress=False)

def other_teacher():
    card = model_card('digits')
    Run('r', dict(options=run_options(card, card.load()) | dict(teacher='0'*16))).teacher()

def one_channel():
    card = model_card('digits').changed(mean=(.5, .5, .5), std=(1., 1., 1.))
    run_options(card, card.load())

def rows_of_numbers():
    kind = onnx.TensorProto.FLOAT
    x,y = (onnx.helper.make_tensor_value_info(name, kind, ['n', 2]) for name in 'xy')
    graph = onnx.helper.make_graph([onnx.helper.make_node('Relu', ['x'], ['y'])], 'g', [x], [y])
    opsets = [onnx.helper.make_opsetid('', 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), 'rows.onnx')
    OnnxClassifier('rows.onnx')

def lost_process():
    with _together(): raise RuntimeError('Connection closed by peer')

CASES = {'no images to measure on': lambda: evaluate(model_card('digits').build(), []),
         'holds no state dict': lambda: read_state_dict('list.pt'),
         'holds no synthetic images': lambda: SyntheticDataset.load('other.safetensors'),
         'holds no quantised model': lambda: load_student(model_card('digits').build(), 'other.safetensors'),
         'columns file and label': lambda: load_images('photos', model_card('digits')),
         'expected a module': lambda: model_card('made_here:number').load(trained=False),
         'no public weights': lambda: model_card('made_here:net').load(trained=True),
         '--size is needed': lambda: run_options(model_card('made_here:net'), torch.nn.Conv2d(3, 2, 8)),
         'cannot be continued from': damaged_checkpoint,
         'not those this run started from': other_teacher,
         'pass one value for each channel': one_channel,
         'expected one input of float images': rows_of_numbers,
         'expected a name ending in .onnx': lambda: export_file('run', 'onnx', 'model.bin'),
         'another process of this program has ended': lost_process}

@pytest.mark.parametrize('says', CASES)
def test_it_says_what_was_wrong(says, here):
    with pytest.raises(SynqError, match=says): CASES[says]()

def test_words_where_numbers_belong(here, capsys):
    assert main('quantize --model digits --mean half --out run'.split())==2
    assert 'numbers separated by commas' in capsys.readouterr().err

@pytest.fixture(scope='module')
def learn():
    teacher = digits_teacher(0, 1)
    return synq_learner(teacher, synthesize(teacher, 256, 8, iters=1, flip=False, progress=False), 3, 3)

def test_a_batch_smaller_than_the_processes(learn, monkeypatch):
    monkeypatch.setattr('synq_nb.learner.processes', lambda: (0, 100))
    with pytest.raises(SynqError, match='cannot be shared by 100 processes'), learn.no_bar(): learn.fit(1)

def test_a_student_that_only_guesses(learn, monkeypatch):
    monkeypatch.setattr(learn, 'gap', lambda: (3., 0.))
    with pytest.raises(SynqError, match='only guesses'): learn.note_fit((3., 0.), 1e-3)

def test_onnx_runtime_that_disagrees(learn, here, monkeypatch):
    monkeypatch.setattr('synq_nb.runtime._disagree', lambda *args: 1.)
    with pytest.raises(SynqError, match='disagrees with torch'): learn.to_onnx('m.onnx')
    assert not list(here.glob('*m.onnx*'))

def refuse(error):
    def f(*args, **kwargs): raise error
    return f

def test_no_network(here, monkeypatch):
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', refuse(RuntimeError('invalid hash value')))
    with pytest.raises(SynqError, match='invalid hash value; delete'): model_card('resnet20_cifar10').load()
    monkeypatch.setattr('fastai.data.external.untar_data', refuse(OSError('no route to host')))
    with pytest.raises(SynqError, match='pass the path of a local copy'): load_images()
    card = replace(model_card('digits'), pretrained=refuse(OSError('no route to host')))
    with pytest.raises(SynqError, match='pass a local checkpoint'): card.load()

def test_options_of_numpy_bits_are_plain():
    card = model_card('digits')
    options = run_options(card, card.load(), wbits=np.int64(3), abits=np.int64(4))
    assert json.loads(json.dumps(options))['abits']==4
