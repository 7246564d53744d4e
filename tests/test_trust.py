"Damaged files end in a sentence, killed runs in the same bytes: a few of those that benchmarks/trust.py makes"
import json, subprocess, sys, warnings
from pathlib import Path
import pytest
from synq_nb.all import *
sys.path.append(str(Path(__file__).parent.parent/'benchmarks'))
from trust import KINDS, damage_all, good_files

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    good_files(folder)
    return folder

@pytest.mark.parametrize('kind', KINDS)
def test_a_damaged_file_is_refused_or_read(kind, folder):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        row = damage_all(kind, folder, 60, 1)
    assert row['refused'] and not row['else'], row['messages']

def test_killed_and_continued(tmp_path):
    script,out = Path(__file__).parent.parent/'benchmarks/trust.py',tmp_path/'rows.json'
    stages = 'synthesis fine-tuning exporting'
    few = ['--parts', 'kills', '--each', '1', '--signals', 'SIGKILL', '--stages', stages]
    r = subprocess.run([sys.executable, str(script), *few, '--out', str(out)], capture_output=True, text=True)
    assert r.returncode==0, r.stderr[-2000:]
    rows = json.loads(out.read_text())['rows']
    assert len(rows)==3 and all(row['survived']==row['faults']==1 for row in rows), rows

def test_workers_of_the_loader_make_no_difference():
    teacher = model_card('digits').load()
    images = synthesize(teacher, 128, iters=4, progress=False)
    def fitted(workers):
        learn = synq_learner(teacher, images, 3, 3, bs=16)
        for dl in learn.dls.loaders: dl.fake_l.num_workers = workers
        fit_learner(learn, 2, 1e-3, progress=False)
        return teacher_hash(learn.model)
    assert fitted(1)==fitted(2)==fitted(0)
