"""What a device gets: accuracy of the files themselves, agreement, sizes, operators, latency beside the float model.

    python benchmarks/deploy.py --weights resnet20.safetensors --data test.npz

Writes benchmarks/results/deploy.json, one row per network, bit-widths and seed; finished rows, images and epochs are kept. `same` counts the images
on which ONNX Runtime and the packed model decide alike, `same_student` those on which the packed model and the fake-quantised
student do, `same_noise` those on which the student decides alike after noise of 0.001 (of the normalised input) on its image.
Latencies are medians of sessions with one thread that take turns."""
import logging, tempfile
from fastcore.script import call_parse
from bench import *
from synq_nb.synthesize import save_atomic

def files_row(spec, teacher, learn, test, folder):
    "Convert, pack and export a student, and measure the files"
    x,y = test.tensors; xs = calibration_images(learn); student = learn.model.cpu().eval(); entry = ZOO[spec['model']]
    m = convert(student, xs); packed,file,floats,state = (Path(folder)/n for n in ('packed.safetensors', 'm.onnx', 'float.onnx', 'float.safetensors'))
    pack(m, packed, spec['model']); export_onnx(m, file, xs[:32], labels=entry.labels); export_onnx(teacher, floats, xs[:32]); save_atomic(teacher.state_dict(), state, {})
    noisy = x+1e-3*torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(): s,q,o,z = student(x),load_quantized(packed)(x),OnnxClassifier(file)(x),student(noisy)
    same = lambda a,b: (a.argmax(1)==b.argmax(1)).sum().item(); count = lambda l: (l.argmax(1)==y).sum().item(); ops = lambda f,names: {k:v for k,v in optimized_ops(f).items() if k in names}
    return dict(spec, n=len(y), teacher_k=evaluate(teacher, test).k, k_student=count(s), k_noise=count(z), k_packed=count(q), k=count(o), same=same(o, q), same_student=same(s, q), same_noise=same(s, z),
                max_diff=(o-q).abs().max().item(), max_logit=q.abs().max().item(), bytes={f.stem+f.suffix: f.stat().st_size for f in (state, packed, floats, file)},
                integer_ops=ops(file, INTEGER_OPS), float_ops=[list(r) for r in float_layers(file)], ms={b: latency({'float': floats, 'integer': file}, x[:b]) for b in (1, 32)}, versions=VERSIONS)

@call_parse
def main(weights:str=None, # checkpoint of the CIFAR teacher
         data:str=None, # .npz or folder of labelled images
         bits:str='88 48 44 33', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         models:str='digits resnet20_cifar10', # zoo names
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Measure the files of students, default recipe"
    import onnxruntime
    VERSIONS['onnxruntime'] = onnxruntime.__version__
    logging.disable(logging.WARNING); torch.set_num_threads(1)
    out = Path(out or RESULTS/'deploy.json'); rows = json.loads(out.read_text())['rows'] if out.exists() else []
    for spec in [dict(model=m, wbits=int(b[0]), abits=int(b[1]), seed=int(s)) for m in models.split() for s in seeds.split() for b in bits.split()]:
        if any(all(r[k]==v for k,v in spec.items()) for r in rows): continue
        entry = ZOO[spec['model']]; teacher = load_model(spec['model'], None if spec['model']=='digits' else weights)
        synth,args,fit = recipe_args('auto', spec['wbits'], spec['abits'], flip=entry.flip)
        ds,_ = cached_images(teacher, synth|dict(size=entry.size), spec['seed'], cache)
        done = Path(cache)/f"finetune_{hashlib.sha256(json.dumps([spec, args, fit, ds.meta['teacher'], len(ds)], sort_keys=True, default=str).encode()).hexdigest()[:12]}.pt"
        learn = synq_learner(teacher, ds, spec['wbits'], spec['abits'], seed=spec['seed'], path=done, **args)
        fit_learner(learn, progress=False, **fit)
        test = digits_data()[1] if spec['model']=='digits' else load_images(data)
        with tempfile.TemporaryDirectory() as d: rows.append(files_row(spec, teacher, learn, test, d))
        write_json(out, dict(rows=rows)); print({k:rows[-1][k] for k in (*spec, 'k_student', 'k', 'same', 'same_student')}, flush=True)
