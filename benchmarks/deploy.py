"""What a device gets: accuracy of the files themselves, agreement, sizes, operators, latency beside the float model.

    python benchmarks/deploy.py --weights resnet20.safetensors --data test_8983.npz

Writes benchmarks/results/deploy.json, one row per network, bit-widths and seed; finished rows, images and epochs are
kept. `same` counts the images on which ONNX Runtime and the packed model decide alike, `same_student` those on which
the packed model and the fake-quantised student do, `same_noise` those on which the student decides alike after noise of
0.001 (of the normalised input) on its image. Latencies are medians of sessions with one thread that take turns."""
import logging, tempfile
from fastcore.script import call_parse
from bench import *

def alike(a, b): return correct(a, b.argmax(1))
def operators(file, names): return {k:v for k,v in optimized_ops(file).items() if k in names}

def files_row(spec, teacher, learn, images, test, folder):
    "Convert, pack and export a student, and measure the files"
    (x,y),seen,card = test.tensors,learn.seen(256),ZOO[spec['model']]
    folder,student = Path(folder),learn.model.cpu().eval()
    state,packed,floats,file = (folder/n for n in ('float.safetensors', 'packed.safetensors', 'float.onnx', 'm.onnx'))
    model = convert(student, seen)
    pack(model, packed, spec['model'])
    export_onnx(model, file, seen[:32], labels=card.labels)
    export_onnx(teacher, floats, seen[:32])
    save_tensors(teacher.state_dict(), state, {})
    noisy = x+1e-3*torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    s,z = in_batches(student, x),in_batches(student, noisy)
    q,o = in_batches(load_packed(packed, card.build()), x),in_batches(OnnxClassifier(file), x)
    return dict(spec, n=len(y), teacher_k=evaluate(teacher, test).k, k_student=correct(s, y), k_noise=correct(z, y),
                k_packed=correct(q, y), k=correct(o, y), same=alike(o, q), same_student=alike(s, q),
                same_noise=alike(s, z), max_diff=(o-q).abs().max().item(), max_logit=q.abs().max().item(),
                bytes={f.name: f.stat().st_size for f in (state, packed, floats, file)},
                integer_ops=operators(file, INTEGER_OPS), float_ops=float_layers(file).values.tolist(),
                ms={b: latency({'float': floats, 'integer': file}, x[:b]) for b in (1, 32)}, versions=VERSIONS,
                images_hash=images_hash(images), **machine())

def student_of(spec, teacher, cache):
    "A student by the default recipe, from images and epochs that are kept, and the images"
    card,quant = ZOO[spec['model']],QuantSpec(spec['wbits'], spec['abits'])
    recipe = choose_recipe('auto', quant).changed(flip=card.flip)
    images,_ = cached_images(teacher, recipe.images | dict(size=card.size[0]), spec['seed'], cache)
    key = json.dumps([spec, images.meta['teacher'], len(images)], sort_keys=True)
    done = Path(cache)/f'finetune_{hashlib.sha256(key.encode()).hexdigest()[:12]}.pt'
    learn = synq_learner(teacher, images, quant, seed=spec['seed'], path=done, **recipe.learner)
    fit_learner(learn, progress=False, **recipe.fit)
    return learn,images

@call_parse
def main(weights:str=None, # checkpoint of the CIFAR teacher
         data:str=None, # .npz or folder of labelled images
         bits:str='88 78 48 44 33', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         models:str='digits resnet20_cifar10', # zoo names
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Measure the files of students, default recipe"
    import onnxruntime
    VERSIONS['onnxruntime'] = onnxruntime.__version__
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    out = Path(out or RESULTS/'deploy.json')
    rows = Rows(out)
    specs = [dict(model=m, wbits=int(b[0]), abits=int(b[1]), seed=int(s))
             for m in models.split() for s in seeds.split() for b in bits.split()]
    for spec in specs:
        if rows.has(spec): continue
        digits = spec['model']=='digits'
        teacher = load_model(spec['model'], None if digits else weights)
        learn,images = student_of(spec, teacher, cache)
        test = ZOO['digits'].test_data() if digits else load_images(data)
        with tempfile.TemporaryDirectory() as folder:
            rows.add(files_row(spec, teacher, learn, images, test, folder))
        print({k:rows[-1][k] for k in (*spec, 'k_student', 'k', 'same', 'same_student')}, flush=True)
