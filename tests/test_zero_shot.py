"Fitting never touches a real image: every door to one raises while a model is being quantised"
import numpy as np, PIL.Image, pytest, sklearn.datasets, torch, torchvision.datasets
from torch.utils.data import DataLoader
import synq_nb.cli as cli, synq_nb.runs as runs, synq_nb.zoo as zoo
from synq_nb.recipes import RECIPES, zero_shot_quantize
from synq_nb.zoo import DigitsNet, digits_data, digits_teacher, evaluate

class Guarded(torch.utils.data.Dataset):
    "Real digits that may only be read when `unlocked`"
    unlocked,(x,y) = False,digits_data()[1].tensors
    def __len__(self): return len(self.y)
    def __getitem__(self, i):
        if not self.unlocked: raise AssertionError('a real image was read during fitting')
        return self.x[i],self.y[i]

@pytest.fixture
def guard(monkeypatch):
    teacher,data = digits_teacher(epochs=4),Guarded()
    def locked(*a, **k): raise AssertionError('real data was opened during fitting')
    doors = ((zoo, 'load_images'), (runs, 'load_images'), (zoo, 'load_npz'), (zoo, 'ImageFiles'), (zoo, 'digits_data'),
             (np, 'load'), (PIL.Image, 'open'), (sklearn.datasets, 'load_digits'), (torchvision.datasets, 'CIFAR10'),
             (torchvision.datasets, 'ImageFolder'))
    for where,name in doors: monkeypatch.setattr(where, name, locked)
    return teacher,data

def test_guard_works(guard):
    with pytest.raises(AssertionError): evaluate(guard[0], DataLoader(guard[1], 64))
    with pytest.raises(AssertionError): zoo.digits_data()
    with pytest.raises(AssertionError): zoo.ZOO['digits'].test_data()

@pytest.mark.parametrize('recipe', list(RECIPES))
def test_fit_sees_no_real_image(guard, recipe):
    teacher,data = guard
    learn = zero_shot_quantize(teacher, 3, 3, recipe, size=8, flip=False, n=256, iters=30, epochs=4, progress=False)
    data.unlocked = True
    assert evaluate(learn.model, DataLoader(data, 64)).n==898

def test_quantize_command_sees_no_real_image(guard, tmp_path):
    teacher,_ = guard
    torch.save(teacher.state_dict(), tmp_path/'t.pth')
    args = f"quantize --model digits --weights {tmp_path/'t.pth'} --n 256 --iters 20 --epochs 2 --out {tmp_path/'run'}"
    assert cli.main(args.split())==0
