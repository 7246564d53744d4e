"Facts that have one home"
import json, subprocess, sys
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

def test_results_say_what_they_measured():
    keys = {'model', 'protocol', 'recipe', 'wbits', 'abits', 'ideas', 'seed', 'n_synth', 'steps', 'k', 'n', 'teacher_k', 'agree', 's_synth', 's_finetune', 'cores', 'versions'}
    for name,more in dict(cifar10=keys, ablation=keys, sweeps=keys, speed={'what', 'batch', 'ours_s', 'reference_s', 'ratio'}).items():
        rows = json.loads((ROOT/f'benchmarks/results/{name}.json').read_text())['rows']
        assert rows and not set().union(*(more-r.keys() for r in rows)), name
