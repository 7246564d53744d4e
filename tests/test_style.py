"Lines that a page shows whole, statements that stand alone, and lessons that import only what came before"
import ast, io, json, re, tokenize
from pathlib import Path
import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(ROOT.glob('nbs/[0-9]*.ipynb'))
LESSONS = [*CHAPTERS, *sorted(ROOT.glob('nbs/tutorials/*.ipynb'))]
SCRIPTS = [p for d in ('benchmarks', 'tests', '.ci') for p in sorted((ROOT/d).glob('*.py'))]

def code_cells(path):
    "Source and first line of every code cell"
    cells = [''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type']=='code']
    return [(source, source.partition('\n')[0]) for source in cells]

def is_export(first): return re.match(r'#\s*\|\s*export', first) is not None

def wide(source, limit): return [line for line in source.splitlines() if len(line)>limit]

def joined(source):
    "Lines with a semicolon between two statements"
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    ends = tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENDMARKER
    pairs = [(t, after) for t,after in zip(tokens, tokens[1:]) if t.type==tokenize.OP and t.string==';']
    return [t.line for t,after in pairs if after.type not in ends]

@pytest.mark.parametrize('path', CHAPTERS, ids=lambda p: p.stem)
def test_exported_code_is_narrow_and_unjoined(path):
    source = '\n'.join(s for s,first in code_cells(path) if is_export(first))
    assert not wide(source, 120)
    assert not joined(source)

@pytest.mark.parametrize('path', SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_narrow(path): assert not wide(path.read_text(), 120)

@pytest.mark.parametrize('path', LESSONS, ids=lambda p: p.stem)
def test_lessons_fit_the_page(path):
    assert not [line for s,first in code_cells(path) if not is_export(first) for line in wide(s, 100)]

def imported(source):
    "Modules of this package that some code imports"
    source = '\n'.join(l for l in source.splitlines() if not l.lstrip().startswith(('%', '!')))
    for node in ast.walk(ast.parse(source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module or ''] if isinstance(node, ast.ImportFrom) else []
        yield from (n.split('.')[1] for n in names if n.startswith('synq_nb.'))

@pytest.mark.parametrize('path', CHAPTERS, ids=lambda p: p.stem)
def test_chapters_import_earlier_chapters_only(path):
    order = [p.stem[3:] for p in CHAPTERS]
    before = order[:order.index(path.stem[3:])] + ['figures'][:path.stem=='01_figures']  # its figures have its style
    found = {m for s,_ in code_cells(path) for m in imported(s)}
    assert found <= set(before), found-set(before)

@pytest.mark.parametrize('path', CHAPTERS, ids=lambda p: p.stem)
def test_exports_are_introduced(path):
    "At most two exported cells in a row without a word between them"
    run = 0
    for cell in json.loads(path.read_text())['cells']:
        source = ''.join(cell['source'])
        plumbing = re.search(r'^(from|import) ', re.sub(r'#\|.*\n', '', source)) is not None
        run = run+1 if is_export(source) and not plumbing else 0
        assert run<=2, source[:200]
