"The second tutorial, run whole where its network and photographs are: in the folder SYNQ_DATA, or beside the checkout"
import os, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = 'nbs/tutorials/02_three_ideas.ipynb'
DATA = Path(os.environ.get('SYNQ_DATA') or ROOT.parent/'shared/data/cifar10')
FILES = 'resnet20.safetensors', 'test_8983.npz'

@pytest.mark.skipif(not all((DATA/f).is_file() for f in FILES), reason=f'needs a folder with {" and ".join(FILES)}')
def test_all_cells_run():
    nbdev_test = Path(sys.executable).with_name('nbdev-test')
    command = [nbdev_test, NOTEBOOK, '--flags', 'slow', '--cell-timeout', '1800']
    env = os.environ | {'SYNQ_DATA': str(DATA.resolve())}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600)
    assert done.returncode==0 and 'Success' in done.stdout, done.stdout+done.stderr
