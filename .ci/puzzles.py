"The empty notebook of the ten puzzles, from the solved one: `python .ci/puzzles.py`"
import json
from pathlib import Path

TUTORIALS = Path(__file__).parents[1]/'nbs/tutorials'

def emptied(source):
    "A solution without its body"
    head = next(line for line in source.split('\n') if line.startswith('def '))
    return f'{head}\n    raise NotImplementedError'

def empty(cell):
    "A cell of the empty notebook, or None where it has none"
    source = ''.join(cell['source'])
    if source.startswith('#| solution-check'): return
    if source.startswith('#| solution'): source = emptied(source)
    source = source.replace('# Ten puzzles, solved', '# Ten puzzles').replace(
        '> The same page with a solution under every puzzle.', '> Write what a zero-shot quantiser is made of.')
    new = dict(cell, source=source.splitlines(True))
    if source.startswith('check('):
        new['outputs'] = [dict(name='stdout', output_type='stream', text=['not written yet\n'])]
    return new

if __name__=='__main__':
    solved = json.loads((TUTORIALS/'07_puzzles_solved.ipynb').read_text())
    cells = [c for c in map(empty, solved['cells']) if c]
    (TUTORIALS/'06_ten_puzzles.ipynb').write_text(
        json.dumps(dict(solved, cells=cells), ensure_ascii=False, indent=1, sort_keys=False)+'\n')
