"What a reader of the notebooks must not meet: a blank figure, a word that nobody explained, an output without an end"
import ast, base64, io, json, re
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pytest
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).parents[1]
NBS = ROOT/'nbs'
CHAPTERS = sorted(NBS.glob('[0-9]*.ipynb'))
TUTORIALS = sorted(NBS.glob('tutorials/[0-9]*.ipynb'))
ALL = [*CHAPTERS, *TUTORIALS, NBS/'index.ipynb', NBS/'tutorials/index.ipynb']
TEACHING = [*CHAPTERS[3:13], *TUTORIALS[:5]]
READING = [TUTORIALS[0], *CHAPTERS[3:10], *(TUTORIALS[i] for i in (1, 3, 4, 2, 12, 5))]
GLOSSARY = TUTORIALS[7]

def cells(path): return json.loads(path.read_text())['cells']
def source(cell): return ''.join(cell['source'])
def each(paths): return pytest.mark.parametrize('path', paths, ids=lambda p: f'{p.parent.name}/{p.stem}')

# Blank figures

def components(mask):
    "Height and width of each connected part of a mask"
    for rows,columns in ndimage.find_objects(ndimage.label(mask, np.ones((3, 3)))[0]):
        yield rows.stop-rows.start,columns.stop-columns.start

def blank(png, scale=1.):
    """Whether a picture has no data: nothing in colour but the lines of a legend, and no grey area.
    `scale`: pixels of the picture per pixel of the page"""
    rgba = np.asarray(Image.open(io.BytesIO(png)).convert('RGBA'), float)
    rgb = rgba[...,:3]*rgba[...,3:]/255+255-rgba[...,3:]
    coloured = rgb.max(2)-rgb.min(2)>40
    def handle(h, w): return 13*scale<=w<=34*scale and h<=11*scale
    if any(max(h, w)>=3*scale and not handle(h, w) for h,w in components(coloured)): return False
    return not ndimage.binary_opening(rgb.min(2)<235, np.ones([round(9*scale)]*2)).any()

def pictures(path):
    "Cell, PNG and its pixels per pixel of the page, of all stored pictures"
    for c in cells(path):
        for o in c.get('outputs', []):
            if png := o.get('data', {}).get('image/png'):
                png = base64.b64decode(''.join(png))
                width = o['metadata'].get('image/png', {}).get('width')
                yield c['id'],png,Image.open(io.BytesIO(png)).width/width if width else 1
            for url in re.findall('data:image/png;base64,([^"]+)', ''.join(o.get('data', {}).get('text/html', ''))):
                yield c['id'],base64.b64decode(url),1

@each(ALL)
def test_no_figure_is_blank(path):
    found = [id for id,png,scale in pictures(path) if blank(png, scale)]
    assert not found

def drawn(draw, dpi=80):
    fig,axs = plt.subplots(1, 2, figsize=(6, 2.6), dpi=dpi)
    for ax in axs: draw(ax)
    file = io.BytesIO()
    fig.savefig(file, dpi=dpi)
    plt.close(fig)
    return file.getvalue()

def empty_curves(ax):
    for name in ('train', 'valid'): ax.plot([], [], label=name)
    ax.set(title='learning curve', xlabel='step', ylabel='loss')
    ax.legend()

@pytest.mark.parametrize('dpi', (80, 160))
@pytest.mark.parametrize('draw,is_blank', [
    (lambda ax: None, True), (empty_curves, True), (lambda ax: ax.axhline(.5, color='.7'), True),
    (lambda ax: ax.plot([1, 3, 2]), False), (lambda ax: ax.plot([1, 2], 'o'), False),
    (lambda ax: ax.bar([1, 2], [3, 4]), False), (lambda ax: ax.hist([1, 2, 2, 3], color='.7'), False),
    (lambda ax: ax.imshow(np.eye(8), cmap='gray'), False)])
def test_blank_figures_are_told_from_others(draw, is_blank, dpi): assert blank(drawn(draw, dpi), dpi/80)==is_blank

# Lines, outputs, imports

def hidden(cell): return re.match(r'(#\s*\|.*\n)*#\s*\|\s*(hide|default_exp)\b', source(cell)) is not None
def exported(cell): return re.match(r'#\s*\|\s*export', source(cell)) is not None

def cut(cells, limit=100):
    "Lines of lessons that are wider than the page"
    text = [source(c) for c in cells if c['cell_type']=='code' and not exported(c)]
    text += [code for c in cells if c['cell_type']=='markdown' for code in re.findall('```(.*?)```', source(c), re.S)]
    return [line for t in text for line in t.splitlines() if len(line)>limit]

@each([*CHAPTERS, *TUTORIALS])
def test_no_line_of_a_lesson_is_cut(path): assert not cut(cells(path))

def code(text, *outputs): return dict(cell_type='code', id='0', source=text, outputs=list(outputs))
def words(text): return dict(cell_type='markdown', id='1', source=text)
def printed(text, name='stdout'): return dict(output_type='stream', name=name, text=text)

def test_cut_lines_are_found():
    long = 'x'*101
    assert cut([code(long), words(f'```\n{long}\n```')])==[long]*2
    assert not cut([code(f'#| export\n{long}'), words(long), code(long[1:])])

def plain(output):
    "The text of an output, unless a page shows something better"
    data = output.get('data', {})
    rich = {'image/png', 'text/html', 'text/markdown'} & data.keys()
    return ''.join(output.get('text', '' if rich else data.get('text/plain', '')))

def endless(cells, limit=40):
    "Cells with more lines or rows of output than fit on a screen"
    def length(o): return max(len(plain(o).splitlines()), ''.join(o.get('data', {}).get('text/html', '')).count('<tr'))
    return [c['id'] for c in cells if sum(map(length, c.get('outputs', [])))>limit]

@each(ALL)
def test_no_output_is_longer_than_a_screen(path): assert not endless(cells(path))

def test_endless_outputs_are_found():
    table = dict(data={'text/html': '<tr>'*41, 'text/plain': 'a table'})
    assert endless([code('', printed('line\n'*41)), code('', table)])==['0', '0']
    assert not endless([code('', printed('line\n'*40))])

def warned(cells):
    "Cells that stored a warning"
    texts = [(c['id'], o.get('name'), plain(o)) for c in cells for o in c.get('outputs', [])]
    return [id for id,name,text in texts if name=='stderr' or re.search(r'\b[A-Z]\w*Warning\b', text)]

@each(ALL)
def test_no_warning_is_stored(path): assert not warned(cells(path))

def test_warnings_are_found():
    assert warned([code('', printed('x.py:1: UserWarning: slow')), code('', printed('slow', 'stderr'))])==['0', '0']
    assert not warned([code('', printed('No warning here'))])

def raw(cells):
    "Numbers with more digits than anybody reads"
    texts = [plain(o) for c in cells for o in c.get('outputs', [])]
    return [m for text in texts for m in re.findall(r'np\.float\d+\(.*?\)|\b\d+\.\d{9,}', text)]

@each(ALL)
def test_numbers_are_rounded(path): assert not raw(cells(path))

def test_raw_numbers_are_found():
    assert raw([code('', printed('0.10662108659744263 np.float64(0.62)'))])==['0.10662108659744263', 'np.float64(0.62)']
    assert not raw([code('', printed('91.64 % and 0.123'))])

def bound(tree): return {(a.asname or a.name).split('.')[0] for node in ast.walk(tree)
                         if isinstance(node, (ast.Import, ast.ImportFrom)) for a in node.names}

def concealed(cells):
    "Names that visible lessons use and only hidden cells import"
    secret,seen,used = set(),set(),set()
    for c in cells:
        if c['cell_type']!='code': continue
        lines = [line for line in source(c).splitlines() if not line.lstrip().startswith(('%', '!'))]
        tree = ast.parse('\n'.join(lines))
        (secret if hidden(c) else seen).update(bound(tree))
        if not hidden(c): seen |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        if not hidden(c): used |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return secret & used-seen

@each([*CHAPTERS, *TUTORIALS])
def test_imports_are_visible(path): assert not concealed(cells(path))

def test_hidden_imports_are_found():
    secret = code('#| hide\nimport torch\nfrom fastcore.test import test_eq')
    assert concealed([secret, code('test_eq(1, 1)')])=={'test_eq'}
    assert not concealed([secret, code('from fastcore.test import test_eq'), code('test_eq(1, 1)')])

# A page that is opened elsewhere, or without Python

INSTALL = '! [ -e /content ] && pip install -q git+https://github.com/synq-nb/synq_nb'

def uninstalled(cells):
    "Whether the first code cell does not install the package on Colab"
    first = next((source(c) for c in cells if c['cell_type']=='code'), INSTALL)
    return INSTALL not in first

@each([p for p in [*CHAPTERS, *TUTORIALS] if p.stem not in ('03_cifar10', '13_choices')])
def test_the_first_cell_installs_on_colab(path): assert not uninstalled(cells(path))

def test_missing_installs_are_found():
    assert uninstalled([words(INSTALL), code('import torch'), code(INSTALL)])
    assert not uninstalled([words('a'), code(f'#| hide\n{INSTALL}'), code('import torch')])

def dead(cells):
    "Cells whose stored output is a widget, which shows nothing without the process that made it"
    kinds = ((c['id'], o.get('data', {})) for c in cells for o in c.get('outputs', []))
    return [id for id,data in kinds if 'application/vnd.jupyter.widget-view+json' in data]

@each(ALL)
def test_no_output_needs_a_kernel(path): assert not dead(cells(path))

def test_dead_outputs_are_found():
    assert dead([code('', dict(data={'application/vnd.jupyter.widget-view+json': {}, 'text/plain': 'a slider'}))])
    assert not dead([code('', dict(data={'text/html': '<input>'}))])

# Recap and exercises

def unfinished(cells):
    "What a teaching chapter lacks"
    text = '\n'.join(source(c) for c in cells if c['cell_type']=='markdown')
    def section(name): return (re.search(rf'^## {name}\n(.*?)(?=^## |\Z)', text, re.M|re.S) or ['', ''])[1]
    recap,tasks = section('Recap'),re.findall(r'^\*\*\d+\.', section('Exercises'), re.M)
    folds = [source(c) for c in cells if re.match(r'(#\|.*\n)*#\| code-summary: Solution', source(c))]
    checks = [s for s in folds if re.search(r'^\s*(assert|test_|with expect_fail)', s, re.M)]
    if not 3<=len(re.findall(r'^[*-] ', recap, re.M))<=5: yield 'a recap of three to five points'
    if not 3<=len(tasks)<=5: yield f'three to five exercises instead of {len(tasks)}'
    if len(folds)!=len(tasks): yield f'a folded solution for each of {len(tasks)} exercises instead of {len(folds)}'
    if len(checks)!=len(folds): yield f'a check in each of {len(folds)} solutions instead of {len(checks)}'

@each(TEACHING)
def test_chapters_end_with_recap_and_exercises(path): assert not list(unfinished(cells(path)))

def test_chapters_without_recap_or_exercises_are_found():
    end = words('## Recap\n\n* a\n* b\n* c\n\n## Exercises\n\n**1.** a\n\n**2.** b\n\n**3.** c')
    solution = code('#| code-fold: true\n#| code-summary: Solution\nassert 1')
    assert not list(unfinished([end, *[solution]*3]))
    assert 'recap' in next(unfinished([words('## Exercises')]))
    assert 'a folded solution' in ' '.join(unfinished([end]))
    assert 'a check' in ' '.join(unfinished([end, *[code(solution['source'].replace('assert', 'print'))]*3]))

# Words

TERMS = {
    'W4A4': r'\bW\dA\d\b',
    'activation': r'\bactivations?\b(?! map)',
    'scale': r'\bscales?\b',
    'zero point': r'\bzero points?\b',
    'fake-quantise': r'\bfake[- ]quantis',
    'straight-through': r'\bstraight[- ]through',
    'logits': r'\blogits?\b',
    'KL': r'\bKL\b',
    'calibrate': r'\bcalibrat',
    'QAT': r'\bQAT\b|\bquantisation-aware',
    'PTQ': r'\bPTQ\b|\bpost-training',
    'Grad-CAM': r'\bGrad-CAM\b',
    'D_0': r'\bD_0\b|\bD0\b',
    'difficulty': r'\bdifficulty\b',
    'LSQ': r'\bLSQ\b|\blearned step',
    'protocol': r'\bprotocols?\b',
    'distillation': r'\bdistillation\b',
    'agreement': r'\bagreement\b',
    'soft label': r'\bsoft labels?\b',
    'promotion': r'\bpromotion\b',
    'canvas': r'\bcanvas',
    'recipe': r'\brecipes?\b',
    'opset': r'\bopset\b',
    'fold': r'\bfold(s|ed|ing)?\b(?! cell)',
    'accumulator': r'\baccumulator',
    'Wilson interval': r'\bWilson\b',
    'BatchNorm statistics': r'\bBatchNorm (statistics|layers? (stores?|keeps?|remembers?))',
    'saliency map': r'\bsaliency maps?\b|\bclass activation maps?\b',
}

def prose(text):
    "A text without code, except for single words"
    text = re.sub(r'```.*?```|\]\([^)]*\)', ' ', text, flags=re.S)
    return re.sub('`([^`]*)`', lambda m: m[1] if m[1].isalpha() else ' ', text)

SAYS = r'\b(is the|are the|called|means?|stands? for|shorthand|et al|which is|decides|stores)\b|: (the|an?)\b'

def explained(text, use, home):
    """Whether a cell explains the word that it uses: it sets it off, says what it is called or means,
    or has a link to the glossary or to the chapter that the glossary names"""
    marked = re.findall(r'\*+([^*\n]+)\*+|^#+ (.*)$|\[([^]]+)\]\(', text, re.M)
    if any(re.search(use, part, re.I) for parts in marked for part in parts): return True
    if '08_words' in text or (home and home in text): return True
    first = next(s for s in re.split(r'(?<=\.)\s', prose(text)) if re.search(use, s, re.I))
    near = rf'({use})\w*\W* (is|are|with)\b|\bis \W*({use})'
    subject = rf'(^|[.:] )`({use})'
    return bool(re.search(f'{SAYS}|{near}', first, re.I) or re.search(subject, text, re.I|re.M))

def unexplained(pages, terms, homes):
    "Words whose first use in reading order comes without an explanation; `pages`: name → cells"
    for term,use in terms.items():
        first = next(((name, source(c)) for name,cs in pages.items() for c in cs if c['cell_type']=='markdown'
                      and re.search(use, prose(source(c)), 0 if term.isupper() else re.I)), None)
        if first and not explained(first[1], use, homes.get(term)): yield f'{term} in {first[0]}: {first[1][:300]}'

def glossary():
    "Rows of the glossary: word and the chapter that explains it"
    rows = re.findall(r'^\| (\*\*.+?) \|.*\| *(.*?) \|$', '\n'.join(map(source, cells(GLOSSARY))), re.M)
    return {word: (re.search(r'(\w+\.ipynb)', where) or ['', ''])[1] for word,where in rows}

def home(term, use, rows):
    "The chapter that the glossary names for a word, or None where it lacks the word"
    return next((where for word,where in rows.items() if re.search(use, re.sub(r'[*$]', '', word), re.I)), None)

@pytest.mark.parametrize('term', TERMS)
def test_the_glossary_has_the_word(term): assert home(term, TERMS[term], glossary()) is not None

def test_words_are_explained_where_they_are_first_used():
    rows = glossary()
    pages = {p.stem: cells(p) for p in READING}
    found = list(unexplained(pages, TERMS, {t: home(t, use, rows) for t,use in TERMS.items()}))
    assert not found, '\n\n'.join(found)

def test_unexplained_words_are_found():
    use = {'zero point': TERMS['zero point']}
    homes = {'zero point': '03_quantize.ipynb'}
    def found(*texts): return list(unexplained({'page': [words(t) for t in texts]}, use, homes))
    assert found('The zero point moves.', 'The *zero point* stands for 0.')
    assert found('The zero point moves.', 'See [words](08_words.ipynb).')
    for text in ('The *zero point* moves.', 'The zero point ([words](08_words.ipynb)) moves.',
                 'The integer that stands for 0 is called the zero point.', '`x = zero point`', 'Nothing.'):
        assert not found(text, 'The zero point moves.' if 'zero' in text and '`' not in text else ''), text

# References

REFERENCES = {
    'LSQ': '1902.08153',
    'DeepInversion': '1912.08795',
    'HAST': '2303.13826',
    'TexQ': 'neurips.cc',
    'Grad-CAM': '1610.02391',
    'GDFQ': '2003.03603',
    'PSAQ-ViT': '2203.02250',
    'survey': '2505.09188',
    'public code': 'github.com/snudm-starlab/SynQ',
}

@pytest.mark.parametrize('name', REFERENCES)
def test_the_paper_has_a_link(name):
    rows = [line for c in cells(GLOSSARY) for line in source(c).splitlines() if line.startswith('*')]
    assert any(name in row and re.search(rf'\]\(https://[^)]*{re.escape(REFERENCES[name])}', row) for row in rows)

# Puzzles

def untaught(cells):
    "Puzzles that do not name the chapter that teaches them, and puzzles missing from the list of what to know"
    texts = [source(c) for c in cells if c['cell_type']=='markdown']
    listed = re.findall(r'^\| ([\d and]+) \|.*\((\.\./\w+\.ipynb)\) \|$', '\n'.join(texts), re.M)
    taught = {number: chapter for numbers,chapter in listed for number in re.findall(r'\d+', numbers)}
    puzzles = {m[1]: t for t in texts if (m := re.match(r'## (\d+) · ', t))}
    return [number for number,text in puzzles.items() if taught.get(number, 'nowhere') not in text]

@each(TUTORIALS[5:7])
def test_every_puzzle_says_where_it_is_taught(path):
    assert not untaught(cells(path))
    assert sum(source(c).startswith('check(') for c in cells(path))==10
    chapters = {name for c in cells(path) for name in re.findall(r'\.\./(\w+)\.ipynb', source(c))}
    assert chapters <= {p.stem for p in TEACHING}

def test_untaught_puzzles_are_found():
    row = words('| 1 and 2 | ranges | [chapter 3](../03_quantize.ipynb) |')
    one,two = words('## 1 · A grid ([chapter 3](../03_quantize.ipynb))'),words('## 2 · A point')
    assert untaught([row, one, two])==['2'] and untaught([one])==['1'] and not untaught([row, one])
