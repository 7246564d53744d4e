"""Which lines of the package do the notebooks and the tests run, and which errors do they never see?

    python benchmarks/covered.py

A chapter defines what it exports in its own cells, so those are compiled here under the name and the line numbers of
the module they are exported to. Every notebook that is not `slow` and every test counts, but for the two pages that
show the results. Writes benchmarks/results/coverage.json: lines and lines run of each module, those that never ran, and
every error of the package: its class, its message, and whether a test or a notebook has seen it."""
import ast, json, os, re, subprocess, sys
from pathlib import Path
from fastcore.script import call_parse
from bench import RESULTS, VERSIONS, machine
from mutants import TOP, Chapter
from synq_nb import core
from synq_nb.core import SynqError, write_json

SHOWN = '10_errors', '11_reliability'  # they show what this script writes, and take no part in it
FAMILY = {name for name,c in vars(core).items() if isinstance(c, type) and issubclass(c, SynqError)}

class Traced(Chapter):
    "A notebook whose exported cells run as lines of their module"
    def __init__(self, file):
        super().__init__(file)
        text = (TOP/'nbs'/f'{file}.ipynb').read_text()
        found = re.search(r'default_exp (\w+)', text)
        self.file = TOP/'synq_nb'/f'{found[1]}.py' if found else None
        self.lines = self.file.read_text().splitlines() if found else []
    def run(self, i, source=None):
        cell,source,exported = self.cells[i]
        if not exported or not self.file: return super().run(i)
        head = next(k for k,line in enumerate(self.lines, 1) if line.startswith('# %%') and line.endswith(f'#{cell}'))
        code = re.sub(r'\A(#\|.*\n)+', '', source)
        tree = ast.increment_lineno(ast.parse(code), head)
        exec(compile(tree, str(self.file), 'exec'), vars(self.module))

def run_notebook(name):
    "Run a notebook under coverage, in this process"
    import matplotlib
    matplotlib.use('agg')
    os.chdir((TOP/'nbs'/name).parent)
    chapter = Traced(name)
    for i in range(len(chapter.cells)): chapter.run(i)

def errors(file, missing):
    "Every error that a module raises by name"
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Raise(ast.Call(ast.Name(name), args)) if name in FAMILY: text = args
            case ast.Call(ast.Name('_refuse'), args): name,text = 'InputError',args
            case _: continue
        text = eval(ast.unparse(ast.Constant(''.join(pieces(text[0]))))) if text else ''
        yield dict(module=file.stem, line=node.lineno, error=name, message=text, seen=node.lineno not in missing)

def pieces(node):
    "The words of a message, with … for what is filled in"
    match node:
        case ast.JoinedStr(values): yield from ('…' if isinstance(v, ast.FormattedValue) else v.value for v in values)
        case ast.Constant(str(text)): yield text
        case _: yield '…'

@call_parse
def main(notebook:str=None, # run one notebook and nothing else; used by this script itself
         out:str=None # result file
        ):
    "Measure what the notebooks and the tests run"
    if notebook: return run_notebook(notebook)
    here = Path(__file__)
    env = os.environ | dict(OMP_NUM_THREADS='1', COVERAGE_FILE=str(TOP/'.coverage'), PYTHONPATH=str(TOP))
    measure = [sys.executable, '-m', 'coverage', 'run', '-p', f'--source={TOP}/synq_nb', '--concurrency=thread']
    def step(*args):
        r = subprocess.run(args, cwd=TOP, env=env, capture_output=True, text=True)
        if r.returncode: print(r.stdout[-1500:], r.stderr[-1500:])
        return r.returncode
    names = sorted(str(p.relative_to(TOP/'nbs').with_suffix('')) for p in TOP.glob('nbs/**/[0-9]*.ipynb'))
    names = [name for name in names if not name.endswith(SHOWN)]
    failed = [name for name in names if print(name, flush=True) or step(*measure, str(here), '--notebook', name)]
    failed += ['tests'] if step(*measure, '-m', 'pytest', '-q', 'tests') else []
    step(sys.executable, '-m', 'coverage', 'combine')
    step(sys.executable, '-m', 'coverage', 'json', '-o', str(TOP/'.coverage.json'))
    files = json.loads((TOP/'.coverage.json').read_text())['files']
    rows,raised = [],[]
    for name,found in sorted(files.items()):
        total,missing = found['summary'],found['missing_lines']
        if not total['num_statements'] or '_modidx' in name: continue
        lines = dict(lines=total['num_statements'], run=total['covered_lines'], missing=missing)
        rows.append(dict(module=Path(name).stem, **lines))
        raised += errors(TOP/name, missing)
    n,k = (sum(r[key] for r in rows) for key in ('lines', 'run'))
    write_json(Path(out or RESULTS/'coverage.json'), dict(lines=n, run=k, failed=failed, rows=rows, errors=raised,
                                                          versions=VERSIONS, **machine()))
    print(f'{k} of {n} lines, {k/n:.1%}; {sum(e["seen"] for e in raised)} of {len(raised)} errors; failed: {failed}')
    for file in ('.coverage', '.coverage.json'): (TOP/file).unlink(missing_ok=True)
