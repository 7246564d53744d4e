"Facts that have one home"
import json, re, shutil, subprocess, sys, pytest
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from importlib.metadata import requires, version
from pathlib import Path
from types import SimpleNamespace
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
    cfg = ConfigParser(delimiters='=')
    cfg.read(ROOT/'settings.ini')
    names = {r.split('>')[0] for r in cfg['DEFAULT']['requirements'].split()}
    assert names <= {r.split('>')[0].split(';')[0].strip() for r in requires('synq_nb')}
    assert version('synq_nb')==synq_nb.__version__

def test_lower_bounds_are_those_that_were_tested():
    "Every requirement has a lower bound, and .ci/lowest.txt installs exactly these"
    cfg = ConfigParser(delimiters='=')
    cfg.read(ROOT/'settings.ini')
    bounds = dict(r.split('>=') for r in cfg['DEFAULT']['requirements'].split())
    assert bounds==dict(r.split('==') for r in (ROOT/'.ci/lowest.txt').read_text().split())

def test_notebooks_are_small():
    sizes = {p.name: p.stat().st_size/1e6 for p in ROOT.glob('nbs/**/*.ipynb')}
    assert sizes and max(sizes.values())<1.5, sizes

# what old rows do not say, and those that no image has a part in: faults, lines and seconds
LACKING = dict.fromkeys('coverage gpu speed trust calibration equalized imagenet jury mct openvino ptq sources '
                        'sources_resnet20 vit wide zoo'.split(), {'images_hash'})
LACKING |= dict.fromkeys(('clock', 'command_line'), {'commit', 'cpu', 'precision', 'images_hash'})

def test_results_say_what_they_measured():
    every = set('commit cpu precision versions images_hash'.split())
    whole = every | set('model protocol recipe wbits abits ideas seed n_synth steps k n teacher_k s_synth s_finetune '
                        'cores data unseen'.split())
    more = dict(report=whole, development=whole, ablation=whole,
                speed=every | {'what', 'batch', 'ours_s', 'reference_s', 'ratio'})
    for file in sorted((ROOT/'benchmarks/results').glob('*.json')):
        about = json.loads(file.read_text())
        rows = [about|row for row in about.pop('rows')]
        missing = set().union(*(more.get(file.stem.split('_')[0], every)-row.keys() for row in rows))
        assert rows and missing<=LACKING.get(file.stem, set()), (file.stem, missing)

def test_benchmarks_say_how_long_is_left(capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT/'benchmarks')
    import bench
    clock = SimpleNamespace(now=0., perf_counter=lambda: clock.now)
    monkeypatch.setattr(bench, 'time', clock)
    def work(row, seconds):
        clock.now += seconds
        return row
    with ThreadPoolExecutor(1) as pool: rows = sorted(bench.finished_rows(pool, 2, work, [1, 2, 3], 100))
    said = [f'{k} of 3 rows made, about 0:{left} left' for k,left in ((1, '01:40'), (2, '00:50'), (3, '00:00'))]
    assert rows==[1, 2, 3] and capsys.readouterr().out.splitlines()==said

def test_a_row_that_fails_does_not_cost_the_others(monkeypatch):
    monkeypatch.syspath_prepend(ROOT/'benchmarks')
    import bench
    def work(n): return 1/n
    found = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        for row in bench.finished_rows(pool, 1, work, [0, 1, 2]): found.append(row)
    assert sorted(found)==[.5, 1]

def stored(): return [(p.name, json.loads(p.read_text())) for p in sorted(ROOT.glob('nbs/**/*.ipynb'))]

def test_every_stored_picture_is_described():
    bare = [f"{name} {c['id']}" for name,nb in stored() for c in nb['cells'] for o in c.get('outputs', [])
            if 'image/png' in o.get('data', {}) and not o.get('metadata', {}).get('image/png', {}).get('alt')]
    assert not bare, bare

def test_headings_do_not_skip_a_level():
    for name,nb in stored():
        text = '\n'.join(''.join(c['source']) for c in nb['cells'] if c['cell_type']=='markdown')
        levels = [len(h) for h in re.findall(r'^(#+) ', re.sub(r'```.*?```', '', text, flags=re.S), re.M)]
        assert levels[:1]==[1] and levels.count(1)==1 and all(b<=a+1 for a,b in zip(levels, levels[1:])), (name, levels)

def test_the_site_can_prepare_every_notebook(tmp_path):
    "nbdev runs exported and import cells alone: an import has to stand in a cell of its own"
    for d in ('nbs', 'benchmarks', 'synq_nb'): shutil.copytree(ROOT/d, tmp_path/d)
    for f in ('pyproject.toml', 'README.md'): shutil.copy(ROOT/f, tmp_path)
    code = "from nbdev.serve import proc_nbs; proc_nbs('nbs', n_workers=0, force=True)"
    r = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode==0, r.stderr[-2000:]

def test_the_empty_puzzles_are_those_that_were_solved(tmp_path):
    shutil.copytree(ROOT/'.ci', tmp_path/'.ci')
    shutil.copytree(ROOT/'nbs/tutorials', tmp_path/'nbs/tutorials')
    subprocess.run([sys.executable, tmp_path/'.ci/puzzles.py'], check=True)
    made,kept = (json.loads((p/'nbs/tutorials/06_ten_puzzles.ipynb').read_text()) for p in (tmp_path, ROOT))
    assert made==kept
    code = [''.join(c['source']) for c in kept['cells'] if c['cell_type']=='code']
    assert sum('raise NotImplementedError' in s for s in code)==sum(s.startswith('check(') for s in code)==10

def test_no_warning_is_stored():
    found = [f"{name} {c['id']}" for name,nb in stored() for c in nb['cells'] for o in c.get('outputs', [])
             if o.get('name')=='stderr']
    assert not found, found
