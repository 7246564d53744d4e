"Facts that have one home"
import subprocess, sys
from configparser import ConfigParser
from importlib.metadata import requires, version
from pathlib import Path
import synq_nb

ROOT = Path(__file__).parents[1]

def test_readme_is_generated_from_index():
    r = subprocess.run([sys.executable, '.ci/readme.py', '--check'], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode==0, r.stderr

def test_readme_commands_are_one_line_each():
    lines = (ROOT/'README.md').read_text().splitlines()
    assert sum('synq demo' in l and l.startswith('python3 -m venv') for l in lines)==1
    assert sum('tests/all.sh' in l and l.startswith('python3 -m venv') for l in lines)==1

def test_requirements_come_from_settings():
    cfg = ConfigParser(delimiters='='); cfg.read(ROOT/'settings.ini')
    names = {r.split('>')[0] for r in cfg['DEFAULT']['requirements'].split()}
    assert names <= {r.split('>')[0].split(';')[0].strip() for r in requires('synq_nb')}
    assert version('synq_nb')==synq_nb.__version__

def test_notebooks_are_small():
    sizes = {p.name: p.stat().st_size/1e6 for p in ROOT.glob('nbs/**/*.ipynb')}
    assert sizes and max(sizes.values())<1.5, sizes
