"""Would the checks notice a wrong line? Change one thing in a chapter's code, and run the chapter.

`trust.py` calls this. A mutant is a chapter with one operator, comparison, constant or condition of an exported cell
replaced. It is killed when a later cell of the chapter fails, or takes ten times as long as it should. Those that live
on are tried against the tests of properties, with the whole package. The chapter runs once; where an exported cell is
reached, each of its mutants goes on from there in a fork, so that the cells before it are not run again."""
import ast, linecache, os, random, re, shutil, signal, subprocess, sys, tempfile, time, types
from pathlib import Path
from nbdev.test import nb_test_cells

TOP = Path(__file__).parent.parent
CHAPTERS = '03_quantize', '04_lowpass', '07_cam', '08_difficulty', '11_integers'
SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
         ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
         ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
         ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
         ast.And: ast.Or, ast.Or: ast.And}

def changed(node):
    "The node with one thing replaced, or None"
    match node:
        case ast.Compare(left, [op], right) if type(op) in SWAPS: return ast.Compare(left, [SWAPS[type(op)]()], right)
        case ast.BinOp(left, op, right) if type(op) in SWAPS: return ast.BinOp(left, SWAPS[type(op)](), right)
        case ast.BoolOp(op, values): return ast.BoolOp(SWAPS[type(op)](), values)
        case ast.UnaryOp(ast.Not()|ast.USub(), operand): return operand
        case ast.IfExp(test, body, orelse): return ast.IfExp(test, orelse, body)
        case ast.Constant(bool(v)): return ast.Constant(not v)
        case ast.Constant(int(v)|float(v)): return ast.Constant(v+1)

class Mutate(ast.NodeTransformer):
    "Replace what stands at one of the places where something can be replaced"
    def __init__(self, at): self.at,self.n,self.what = at,0,None
    def visit(self, node):
        if isinstance(node, ast.FormattedValue): return node  # messages
        node = self.generic_visit(node)
        if (new := changed(node)) is None: return node
        self.n += 1
        if self.n-1!=self.at: return node
        self.what = f'{ast.unparse(node)[:60]} → {ast.unparse(new)[:60]}'
        return ast.copy_location(new, node)

def mutant(source, at):
    "The source with place number `at` replaced, what that was, and how many places there are"
    m = Mutate(at)
    tree = ast.fix_missing_locations(m.visit(ast.parse(source)))
    return ast.unparse(tree),m.what,m.n

class Chapter:
    "The cells of a notebook, run one after the other"
    def __init__(self, name):
        cells = nb_test_cells(TOP/'nbs'/f'{name}.ipynb', skip_flags=['slow', 'cuda'])
        def exported(source): return re.match(r'#\|\s*export', source) is not None
        self.cells = [(c.id, re.sub(r'^[!%].*', '', c.source, flags=re.M), exported(c.source)) for c in cells]
        self.name,self.module = name,types.ModuleType('chapter')
        sys.modules['chapter'] = self.module
    def run(self, i, source=None):
        source,name = source or self.cells[i][1],f'<cell {i}>'
        linecache.cache[name] = len(source),None,source.splitlines(True),name
        exec(compile(source, name, 'exec'), vars(self.module))

def survives(chapter, i, source, limit):
    "Run the rest of a chapter in a fork, with another source for cell `i`"
    if pid := os.fork(): return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])==0
    code = 1
    try:
        for stream in (1, 2): os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.alarm(limit)
        chapter.run(i, source)
        for k in range(i+1, len(chapter.cells)): chapter.run(k)
        code = 0
    finally: os._exit(code)

def passes_properties(name, cell, source):
    "Run the tests of properties with a package in which one cell is another"
    module = name.split('_', 1)[1]
    with tempfile.TemporaryDirectory() as folder:
        skip = shutil.ignore_patterns('results')
        for part in ('synq_nb', 'tests', 'benchmarks', 'settings.ini', 'pyproject.toml'):
            if (TOP/part).is_dir(): shutil.copytree(TOP/part, f'{folder}/{part}', ignore=skip)
            elif (TOP/part).exists(): shutil.copy(TOP/part, folder)
        file = Path(folder)/'synq_nb'/f'{module}.py'
        parts = re.split(r'(?m)^(?=# %% )', file.read_text())
        at = next(i for i,part in enumerate(parts) if part.split('\n')[0].endswith(f'#{cell}'))
        parts[at] = f"{parts[at].splitlines()[0]}\n{source.replace('from synq_nb', 'from .')}\n"
        file.write_text(''.join(parts).replace('from ..', 'from .'))
        tests = ('tests/test_properties.py',)
        r = subprocess.run([sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', *tests], cwd=folder,
                           env=os.environ|{'PYTHONPATH': folder}, capture_output=True, timeout=900)
        return r.returncode==0

def mutants(name, most, seed=0):
    "One row: mutants of a chapter, how many were killed by what, and which live"
    os.chdir(TOP/'nbs')
    chapter,rng = Chapter(name),random.Random(f'{name} {seed}')
    places = [(i,at) for i,(_,source,exported) in enumerate(chapter.cells) if exported
              for at in range(mutant(source, -1)[2])]
    chosen = sorted(rng.sample(places, min(most, len(places))))
    start = time.time()
    assert survives(chapter, 0, None, 600), f'{name} fails without any change'
    limit = 10+int(10*(time.time()-start))
    alive = []
    for i,(cell,source,_) in enumerate(chapter.cells):
        for at in (at for k,at in chosen if k==i):
            new,what,_ = mutant(source, at)
            if survives(chapter, i, new, limit): alive.append((cell, new, what))
        chapter.run(i)
    late = [(cell, what) for cell,new,what in alive if passes_properties(name, cell, new)]
    return dict(part='mutants', chapter=name, places=len(places), mutants=len(chosen),
                killed_by_chapter=len(chosen)-len(alive), killed_by_properties=len(alive)-len(late),
                alive=[f'{cell}: {what}' for cell,what in late])
