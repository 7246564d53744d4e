"""Is anything lost, silently wrong, or run because a file says so? Faults are injected, and what happens is counted.

    python benchmarks/trust.py
    python benchmarks/trust.py --parts "files drift"

`files`: one good file of every kind, damaged thousands of times, each copy handed to its reader. A reader may read it,
or refuse it (`ValueError` or `OSError`, the two that readers promise). The same seed damages alike. A packed file has a
SHA-256 that detects accidents; whoever changes it on purpose can compute it anew, so `packed, signed again` does that.
`kills`, `crashes`, `full` and `two`: see faults.py. `drift` and `many`: see drift.py. `mutants`: see mutants.py. All of
it takes about two hours on one core. Writes benchmarks/results/trust.json; rows that are not measured again
stay as they were."""
import json, random, resource, shutil, struct, tempfile, time, warnings
from collections import Counter
from pathlib import Path
import numpy as np, torch
from fastcore.script import call_parse
from safetensors.torch import save_file
from synq_nb.core import fingerprint, load_tensors, write_json
from synq_nb.integers import load_packed
from synq_nb.quantize import load_student
from synq_nb.runs import Run, measure_file, run_options
from synq_nb.zoo import load_images, model_card, read_state_dict
from bench import RESULTS, VERSIONS, Rows, machine
from drift import drifts, many
from faults import Faults
from mutants import CHAPTERS, mutants

CARD = model_card('digits')
NASTY = None, True, -1, 0, 1e308, 2**63, '', '../../x', '\x1b]0;x\x07', '<script>', [], {}, [[]], 'NaN', {'a': None}

CHANGES = [lambda t: t[:-1] if t.ndim else t[None], lambda t: t.float()*float('nan'), torch.Tensor.double,
           torch.Tensor.flatten, torch.zeros_like]

def flip(data, rng):
    "Change up to eight bits"
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)): data[rng.randrange(len(data))] ^= 1<<rng.randrange(8)
    return bytes(data)

def cut(data, rng): return data[:rng.randrange(len(data))]

def splice(data, rng):
    "Put a piece of the file somewhere else in it"
    a,b,c = sorted(rng.randrange(len(data)) for _ in range(3))
    return data[:a]+data[b:c]+data[a:]

def overwrite(data, rng):
    "Zeros, ones or noise over a piece"
    a,n = rng.randrange(len(data)),rng.randint(1, 64)
    piece = rng.choice([bytes(n), b'\xff'*n, rng.randbytes(n)])
    return data[:a]+piece+data[a+n:]

def change_value(tree, rng):
    "Replace, drop or rename something anywhere in plain values"
    if isinstance(tree, (dict, list)) and tree and rng.random()<.8:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        key,new = rng.choice(list(keys)),tree.copy()
        how = rng.random()
        if how<.1: del new[key]
        elif how<.2 and isinstance(tree, dict): new[rng.choice(['', 'x', '../x'])] = new.pop(key)
        else: new[key] = change_value(tree[key], rng)
        return new
    return rng.choice(NASTY)

def change_header(data, rng):
    "Change a value in the header of a safetensors file"
    n, = struct.unpack('<Q', data[:8])
    header = json.dumps(change_value(json.loads(data[8:8+n]), rng)).encode()
    return struct.pack('<Q', len(header))+header+data[8+n:]

def change_json(data, rng): return json.dumps(change_value(json.loads(data), rng)).encode()

def sign_again(data, rng, folder):
    "Change tensors or metadata of a packed file, and compute its digest anew"
    (folder/'good.safetensors').write_bytes(data)
    tensors,meta = load_tensors(folder/'good.safetensors')
    meta.pop('sha256')
    name = rng.choice(list(tensors))
    if rng.random()<.5: meta = change_value(meta, rng)
    elif rng.random()<.3: tensors.pop(name)
    else: tensors[name] = rng.choice(CHANGES)(tensors[name])
    meta = meta if isinstance(meta, dict) else {'format': meta}
    tensors = {k: v.contiguous() for k,v in tensors.items()}
    save_file(tensors, folder/'again.safetensors', {'synq': json.dumps(meta | {'sha256': fingerprint(tensors, meta)})})
    return (folder/'again.safetensors').read_bytes()

def good_files(folder):
    "A finished run of a small network, and files of photographs and weights"
    teacher = CARD.load()
    options = run_options(CARD, teacher, None, wbits=3, abits=3, n=64, iters=2, epochs=1)
    Run.open(folder/'run', options).quantize(teacher, progress=False)
    np.savez(folder/'images.npz', x=np.zeros((12, 1, 8, 8), np.uint8), y=np.arange(12)%10)
    np.savez_compressed(folder/'small.npz', x=np.zeros((12, 1, 8, 8), np.uint8), y=np.arange(12)%10)
    save_file(teacher.state_dict(), folder/'weights.safetensors')
    torch.save(teacher.state_dict(), folder/'weights.pt')

def read_run(path):
    "As `synq info`, `synq eval` and the report read a record"
    folder = path.parent/'copy'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(path, folder/'run.json')
    run = Run.load(folder)
    run.card()
    run.write_report()

def use(classifier): return classifier(torch.zeros(2, 1, 8, 8))

BYTES = flip, cut, splice, overwrite
# kind: (good file, ways to damage it, reader)
KINDS = {'photographs (.npz)': ('images.npz', BYTES, lambda p: load_images(p, CARD)),
         'photographs, compressed': ('small.npz', BYTES, lambda p: load_images(p, CARD)),
         'weights (.safetensors)': ('weights.safetensors', (*BYTES, change_header), read_state_dict),
         'weights (.pt)': ('weights.pt', BYTES, read_state_dict),
         'student': ('run/model.safetensors', (*BYTES, change_header), lambda p: load_student(CARD.build(), p)),
         'packed': ('run/packed.safetensors', (*BYTES, change_header), lambda p: use(load_packed(p, CARD.build()))),
         'packed, signed again': ('run/packed.safetensors', (sign_again,), lambda p: use(load_packed(p, CARD.build()))),
         'packed, measured': ('run/packed.safetensors', (sign_again,), measure_file),
         'ONNX': ('run/model.onnx', BYTES, measure_file),
         'record of a run': ('run/run.json', (*BYTES, change_json), read_run)}

def damage_all(kind, folder, n, seed):
    "Read `n` damaged files of one kind; what happened"
    name,ways,read = KINDS[kind]
    data,suffix = (folder/name).read_bytes(),Path(name).suffix
    ended,messages,longest = Counter(),{},0.
    for i in range(n):
        rng = random.Random(f'{kind} {seed} {i}')
        way = ways[i%len(ways)]
        bad = folder/f'bad{suffix}'
        bad.write_bytes(way(data, rng, folder) if way is sign_again else way(data, rng))
        start = time.perf_counter()
        try:
            read(bad)
            ended['read'] += 1
        except (ValueError, OSError): ended['refused'] += 1
        except Exception as e:
            ended['else'] += 1
            messages.setdefault(f'{type(e).__name__}: {str(e)[:150]}', f'{way.__name__} {i}')
        longest = max(longest, time.perf_counter()-start)
    return dict(kind=kind, files=n, seed=seed, **{k: ended[k] for k in ('read', 'refused', 'else')},
                messages=dict(list(messages.items())[:12]), s_longest=round(longest, 2))

def damaged(n, seed, folder):
    "Rows of damaged files of every kind"
    good_files(folder)
    for kind in KINDS:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        row = damage_all(kind, folder, n, seed)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)//1024
        yield dict(part='files', **row, mib_grown=grown)

PARTS = 'files kills crashes full two drift many mutants'

@call_parse
def main(parts:str=PARTS, # what to do, names separated by spaces
         n:int=1200, # damaged files of each kind
         each:int=8, # kills of each stage by each of four signals
         stages:str='', # names of stages to kill in; empty: all
         signals:str='', # names of signals to kill with; empty: all
         limits:int=30, # full disks, and pairs of processes
         steps:int=2000, # of fine-tuning and of synthesis, for their drift
         runs:int=50, # in one process
         most:int=100, # mutants of each chapter
         chapters:str=' '.join(CHAPTERS), # of which mutants are made
         seed:int=0, # of the damage and of the moments
         out:str=None # result file
        ):
    "Inject faults and count what happens"
    if unknown := set(parts.split())-set(PARTS.split()): raise ValueError(f'{unknown}: expected some of {PARTS}')
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    out = Path(out or RESULTS/'trust.json')
    rows = Rows(out)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        faults = Faults(folder, seed) if set(parts.split())&{'kills', 'crashes', 'full', 'two'} else None
        work = dict(files=lambda: damaged(n, seed, folder), kills=lambda: faults.kills(each, stages, signals),
                    crashes=lambda: faults.crashes(), full=lambda: faults.full(limits), two=lambda: faults.two(limits),
                    drift=lambda: drifts(steps), many=lambda: [many(runs)],
                    mutants=lambda: (mutants(name, most, seed) for name in chapters.split()))
        for part in parts.split():
            for row in work[part]():
                which = {k: row.get(k) for k in ('part', 'kind', 'stage', 'signal', 'what', 'chapter')}
                rows = [r for r in rows if which!={k: r.get(k) for k in which}]
                rows.append(row | dict(versions=VERSIONS, **machine()))
                print(row, flush=True)
                write_json(out, dict(rows=rows))
