"Errors that no chapter shows: each says what was wrong, and is a SynqError"
import sys
import pytest, torch
from synq_nb.all import *
from synq_nb.cli import main
from synq_nb.core import SynqError, save_tensors
from synq_nb.runs import Run, run_options
from synq_nb.zoo import model_card, read_state_dict

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

CASES = {'holds no state dict': lambda: read_state_dict('list.pt'),
         'holds no synthetic images': lambda: SyntheticDataset.load('other.safetensors'),
         'holds no quantised model': lambda: load_student(model_card('digits').build(), 'other.safetensors'),
         'columns file and label': lambda: load_images('photos', model_card('digits')),
         'expected a module': lambda: model_card('made_here:number').load(trained=False),
         'no public weights': lambda: model_card('made_here:net').load(trained=True),
         '--size is needed': lambda: run_options(model_card('made_here:net'), torch.nn.Conv2d(3, 2, 8)),
         'cannot be continued from': damaged_checkpoint,
         'not those this run started from': other_teacher}

@pytest.mark.parametrize('says', CASES)
def test_it_says_what_was_wrong(says, here):
    with pytest.raises(SynqError, match=says): CASES[says]()

def test_words_where_numbers_belong(here, capsys):
    assert main('quantize --model digits --mean half --out run'.split())==2
    assert 'numbers separated by commas' in capsys.readouterr().err
