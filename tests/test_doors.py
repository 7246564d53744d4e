"One of each thing that people add, from outside the package: the examples of CONTRIBUTING.md, all in one run"
import json, os, re, subprocess, sys
from pathlib import Path
import pytest
from synq_nb import cam, learner, quantize, recipes, runs, synthesize, zoo
from synq_nb.cli import main

PAGE = (Path(__file__).parents[1]/'CONTRIBUTING.md').read_text()
EXAMPLES = re.findall(r'```python\n(.*?)```', PAGE, re.S)
DOORS = {'TERMS': synthesize, 'CANVASES': synthesize, 'METHODS': quantize, 'LOSS_TERMS': learner, 'CAM_METHODS': cam,
         'RECIPES': recipes, 'DOUBTS': recipes, 'FORMATS': runs, 'ZOO': zoo}

@pytest.fixture
def added(monkeypatch):
    "Run the examples; what they add is taken out again afterwards"
    for name,module in DOORS.items():
        registry = getattr(module, name)
        for key in list(registry): monkeypatch.setitem(registry, key, registry[key])
    before = {name: set(getattr(module, name)) for name,module in DOORS.items()}
    namespace = {}
    for block in EXAMPLES: exec(block, namespace)
    new = {name: set(getattr(module, name))-before[name] for name,module in DOORS.items()}
    yield new
    for name,keys in new.items():
        for key in keys: del getattr(DOORS[name], name)[key]

def test_each_example_is_short():
    assert len(EXAMPLES)==len(DOORS) and max(len(b.splitlines()) for b in EXAMPLES)<=12

def test_one_of_each_from_outside(added, tmp_path):
    assert all(len(keys)==1 for keys in added.values()), added
    out = tmp_path/'run'
    settings = ['canvas=coarse', 'balance=0.1', 'method=clipped', 'norm=0.01', 'cam={"weight": 5, "method": "energy"}']
    args = ['quantize', '--model', 'halves', '--recipe', 'quick', '--wbits', '4', '--abits', '4', '--out', str(out)]
    assert main([*args, '--set', *settings])==0
    assert main(['eval', str(out)])==0
    record = json.loads((out/'run.json').read_text())
    assert record['finished'] and not record['missing']
    text = json.dumps(record['settings'])
    assert all(word in text for word in ('Balance', 'CoarseCanvas', 'clipped', 'SameNorm', 'energy'))
    assert all(type(sentence) is str for sentence in record['doubts'])
    rows = record['accuracy']
    assert any('pt2' in name or 'program' in name for name in rows), rows
    assert all(row['n']==898 and row['k']>500 for row in rows.values()), rows

def test_the_shell_finds_a_module_of_ones_own(tmp_path):
    "In a process that has imported nothing: naming the card imports all that stands beside it"
    (tmp_path/'my_module.py').write_text('\n'.join(EXAMPLES))
    def synq(*args):
        ran = subprocess.run([sys.executable, '-m', 'synq_nb', *args, '--model', 'my_module:card'], cwd=tmp_path,
                             env=dict(os.environ, OMP_NUM_THREADS='1'), capture_output=True, text=True)
        assert ran.returncode==0, ran.stderr
        return ran.stdout
    synq('quantize', '--recipe', 'quick', '--set', 'norm=0.01', '--out', 'run')
    assert 'model.pt2' in synq('eval', 'run')
