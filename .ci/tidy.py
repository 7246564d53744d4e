"Progress bars overwrite their line; keep only what was left of it in stored outputs. Run after nbdev-test --save"
import json, re
from pathlib import Path

def settle(text):
    lines = [next((s for s in reversed(l.split('\r')) if s.strip(' █')), '') for l in text.split('\n')]
    return '\n'.join(l for l in lines if l and not re.match(r'(Epoch \d+/\d+ :|█?\s*$)', l) and not re.match(r' *\|[█-]+\| ', l))

if __name__=='__main__':
    for p in Path(__file__).parents[1].glob('nbs/**/*.ipynb'):
        nb = json.loads(p.read_text()); before = json.dumps(nb)
        for c in nb['cells']:
            for o in c.get('outputs', []):
                if o['output_type']=='stream' and '\r' in (t := ''.join(o['text'])): o['text'] = (settle(t)+'\n').splitlines(True)
            if c['cell_type']=='code': c['outputs'] = [o for o in c['outputs'] if o['output_type']!='stream' or ''.join(o['text']).strip()]
        if json.dumps(nb)!=before: p.write_text(json.dumps(nb, ensure_ascii=False, indent=1)+'\n'); print(p.name)
