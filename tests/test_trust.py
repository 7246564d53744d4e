"Damaged files end in a sentence: a few of those that benchmarks/trust.py makes by the thousand"
import sys, warnings
from pathlib import Path
import pytest
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
