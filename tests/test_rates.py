"Fits at several learning rates: the nearest one stays, whatever comes between"
import json, pytest, torch
from fastai.callback.core import Callback
from synq_nb.all import *

@pytest.fixture(scope='module')
def teacher(): return digits_teacher(0, 4)

@pytest.fixture(scope='module')
def images(teacher): return synthesize(teacher, 512, 8, iters=20, flip=False, progress=False)

def fitted(teacher, images, lr=.004, rates=2, path=None, cbs=()):
    learn = synq_learner(teacher, images, 2, 2, path=path, cbs=cbs)
    fit_learner(learn, 3, lr, rates=rates, progress=False)
    return learn

class PressCtrlC(Callback):
    "In the second epoch of the second fit"
    def after_batch(self):
        if self.training and self.learn.checkpoint.lowered==1 and self.epoch==1: self.learn.interrupt.stop()

class FailLater(Callback):
    "No rate but the first is any good"
    def after_loss(self):
        if self.training and self.learn.checkpoint.lowered: self.learn.loss_grad = self.learn.loss*float('nan')

def test_the_nearest_stays(teacher, images):
    alone = [fitted(teacher, images, lr, 1) for lr in (.004, .001)]
    best = min(alone, key=lambda learn: learn.gap()[0])
    both = fitted(teacher, images)
    assert both.gap()==best.gap() and both.curve==best.curve and both.kept=='fine-tuned'
    assert not [s for s in find_doubts(both) if 'started again' in s]

@pytest.mark.parametrize('lr', [.004, 1e-4])
def test_stopped_in_the_second_fit_and_continued(teacher, images, tmp_path, lr):
    whole,path = fitted(teacher, images, lr),tmp_path/'finetune.pt'
    cut = synq_learner(teacher, images, 2, 2, path=path)
    cut.add_cb(PressCtrlC())
    with pytest.raises(KeyboardInterrupt): fit_learner(cut, 3, lr, rates=2, progress=False)
    again = fitted(teacher, images, lr, path=path)
    assert again.checkpoint.lowered==1
    for name,value in whole.model.state_dict().items(): assert torch.equal(again.model.state_dict()[name], value), name

def test_a_failed_second_fit_costs_nothing(teacher, images):
    first = fitted(teacher, images, .004, 1)
    learn = synq_learner(teacher, images, 2, 2)
    learn.add_cb(FailLater())
    with pytest.warns(UserWarning, match='A fit before it stays'): fit_learner(learn, 3, .004, rates=2, progress=False)
    assert learn.gap()==first.gap() and learn.rate==.004 and not learn.failures and learn.fits==1

def test_a_fit_that_does_harm_hides_no_other(teacher, images, monkeypatch):
    learn = synq_learner(teacher, images, 2, 2)
    gaps = iter([(1., .9), (.5, .8), (.6, .95)])  # rounded, then each fit
    monkeypatch.setattr(learn, 'gap', lambda: next(gaps))
    with pytest.warns(UserWarning, match='starts again'): fit_learner(learn, 1, .004, rates=2, progress=False)
    assert learn.kept=='fine-tuned' and learn.rate==.001 and learn.failures==1

def test_nothing_of_the_other_fits_stays(teacher, images):
    assert fitted(teacher, images).checkpoint.nearest is None

def test_a_file_of_the_version_before(teacher, images, tmp_path):
    path = tmp_path/'finetune.pt'
    fitted(teacher, images, rates=1, path=path)
    state = torch.load(path, weights_only=True)
    key = json.loads(state['key'])
    del key['rates'], state['failed'], state['nearest']
    torch.save(state | dict(key=json.dumps(key)), path)
    assert fitted(teacher, images, rates=1, path=path).curve==state['curve']
    with pytest.raises(SynqError, match='other settings .rates'): fitted(teacher, images, path=path)

def test_a_wrong_number_of_rates(teacher, images):
    with pytest.raises(SynqError, match='rates=0'): fitted(teacher, images, rates=0)
    with pytest.raises(SynqError, match='rates=1.5'): fitted(teacher, images, rates=1.5)
    for wrong in (None, 1.5):
        with pytest.raises(SynqError, match=f'rates={wrong}'):
            check_recipe(RECIPES['fast'].changed(rates=wrong), QuantSpec(4, 4))
