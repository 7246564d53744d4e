"""Progress bars overwrite their line; keep only what was left of it in stored outputs. Run after nbdev-test --save,
for all notebooks or for those that are named."""
import json, re, sys
from pathlib import Path

BAR = re.compile(r'(Epoch \d+/\d+ :|█?\s*$)| *\|[█-]+\| ')

def settle(text):
    "What a terminal would show in the end"
    lines = [next((s for s in reversed(l.split('\r')) if s.strip(' █')), '') for l in text.split('\n')]
    return '\n'.join(l for l in lines if l and not BAR.match(l))

def tidy(cell):
    "Settle the streams of a code cell, and drop warnings, widgets that need a kernel, and what is empty then"
    for o in cell['outputs']: o.get('data', {}).pop('application/vnd.jupyter.widget-view+json', None)
    streams = [o for o in cell['outputs'] if o['output_type']=='stream']
    for o in streams:
        text = ''.join(o['text'])
        if '\r' in text: o['text'] = (settle(text)+'\n').splitlines(True)
    empty = [o for o in streams if not ''.join(o['text']).strip()]
    cell['outputs'] = [o for o in cell['outputs'] if o not in empty and o.get('name')!='stderr']

if __name__=='__main__':
    for p in map(Path, sys.argv[1:] or Path(__file__).parents[1].glob('nbs/**/*.ipynb')):
        nb = json.loads(p.read_text())
        before = json.dumps(nb)
        for c in nb['cells']:
            if c['cell_type']=='code': tidy(c)
        if json.dumps(nb)!=before:
            p.write_text(json.dumps(nb, ensure_ascii=False, indent=1)+'\n')
            print(p.name)
