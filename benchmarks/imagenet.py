"""Networks at 224 pixels: rounded and fine-tuned without data, and then counted on ImageNet photographs.

    python benchmarks/imagenet.py --weights mobilenet_v2.safetensors --data val_1300

The recipe is what 'auto' stands for. Students are converted to integers and kept as packed files in `folder`, which
can be made on one machine (without `--data`) and counted on another: rows come from the packed files. `--n` and
`--epochs` make it shorter, for a CPU. `k` of `n` counts the photographs after the first `first` by name, or the first
ones with `--development`; `same` and `kl` compare with the teacher on them. `--damp` draws weights to their grid, as in
`trials.py`; `--follow` and `--rates` are the settings of the library. Each length and each such run needs a `folder` of
its own. Writes benchmarks/results/imagenet.json; finished files and rows are kept, and a row that does not say how long
the run was counts as finished for every length."""
import json, os, time
from pathlib import Path
import torch
from fastcore.script import call_parse
from torch.utils.data import Subset
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from calibration import stack
from synq_nb.all import *
from trials import Damp

def packed_at(folder, model, bits, seed, stage):
    return Path(folder)/f"{model.replace(':', '-')}-{bits}-{seed}-{stage}.packed"

def recipe_of(spec, teacher, n, epochs, follow=None, rates=None):
    "What 'auto' stands for, with other settings if asked for"
    recipe = choose_recipe('auto', spec, teacher)
    if n: recipe = recipe.changed(n=n, batch_size=min(n, 128))
    asked = dict(epochs=epochs or None, follow=follow, rates=rates)
    return recipe.changed(**{k: v for k,v in asked.items() if v is not None})

def settings_of(recipe, damp):
    "What tells apart runs of the same bits and seed"
    return dict(n_images=recipe.images['n'], epochs=recipe.fit['epochs'], damp=damp,
                follow=recipe.learner.get('follow', 0.), rates=recipe.fit.get('rates', 1))

def noted(folder, model, bits, seed, settings):
    "What `make` wrote about a student; None if it has made none"
    file = packed_at(folder, model, bits, seed, 'student').with_suffix('.json')
    if not file.exists(): return
    note = json.loads(file.read_text())
    assert all(note.get(k, v)==v for k,v in settings.items()), f'{file} is of another run: choose another folder'
    return note

def images_of(teacher, size, seed, recipe, folder):
    "The images of one seed, made once"
    path = Path(folder)/f'{teacher_hash(teacher)[:8]}-{seed}.safetensors'
    return synthesize(teacher, size=size, seed=seed, path=path, progress='log', **recipe.images)

def make(model, teacher, size, bits, seed, folder, recipe, damp=0.):
    "Pack a student twice: as it was rounded, and fine-tuned"
    spec = QuantSpec(int(bits[0]), int(bits[1]))
    images = images_of(teacher, size, seed, recipe, folder)
    learn,start = synq_learner(teacher, images, spec, seed=seed, **recipe.learner),time.perf_counter()
    pack(convert(learn.model, learn.seen(64)), packed_at(folder, model, bits, seed, 'rounded'), model)
    if damp: learn.add_cb(Damp(damp))
    fit_learner(learn, progress='log', **recipe.fit)
    pack(convert(learn.model, learn.seen(64)), packed_at(folder, model, bits, seed, 'student'), model)
    write_json(packed_at(folder, model, bits, seed, 'student').with_suffix('.json'),
               dict(s_finetune=time.perf_counter()-start, kept=learn.kept, gap=learn.gap(), made=machine(),
                    restarts=learn.failures, rate=learn.rate, images_hash=images_hash(images),
                    **settings_of(recipe, damp)))

def count(file, card, teacher_logits, x, y):
    "What a packed file answers"
    logits = in_batches(load_packed(file, card.build()), x, 50)
    kl,same = KLLoss()(logits, None, teacher_logits),agreement(logits, None, teacher_logits)
    return dict(k=(logits.argmax(1)==y).sum().item(), n=len(y), kl=finite(kl.item()), same=same.item(),
                bytes=file.stat().st_size)

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str='', # folder of images and labels.csv; '': make the students, count nothing
         model:str='torchvision:mobilenet_v2', # as `synq quantize` takes it
         bits:str='88 48 44', # W and A bits; '': make the images alone
         seeds:str='0 1 2', # of images and fine-tuning
         n:int=0, # images, 0: as many as 'auto' makes
         epochs:int=0, # of fine-tuning, 0: as many as 'auto' takes
         damp:float=0., # weight of the distance of all weights from their grid, at the end of the fit
         follow:float=None, # share of the epochs in which BatchNorm follows the student, None: as 'auto' has it
         rates:int=None, # learning rates to try, None: as 'auto' does
         first:int=300, # photographs, by name, that are kept for development
         development:bool=False, # count those
         only_count:bool=False, # what is there already
         folder:str='runs/imagenet', # of images and packed files
         out:str=None # result file
        ):
    "Make what is missing, and count"
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    out = Path(out or RESULTS/'imagenet.json')
    rows = Rows(out)
    Path(folder).mkdir(parents=True, exist_ok=True)
    card,teacher = model_card(model),load_model(model, weights)
    def plan(b): return recipe_of(QuantSpec(int(b[0]), int(b[1])), teacher, n, epochs, follow, rates)
    recipes = {b: plan(b) for b in bits.split()}
    settings = {b: settings_of(recipe, damp) for b,recipe in recipes.items()}
    for seed in seeds.split():
        if not bits: images_of(teacher, card.size, int(seed), plan('44'), folder)
        for b in bits.split() if not only_count else ():
            if noted(folder, model, b, seed, settings[b]) is None:
                make(model, teacher, card.size, b, int(seed), folder, recipes[b], damp)
    if not data: return
    files = load_images(data, card, 1000)
    x = stack(Subset(files, range(first) if development else range(first, len(files))))
    y = torch.tensor(files.labels)[:first] if development else torch.tensor(files.labels)[first:]
    teacher_logits = in_batches(teacher, x, 50)
    whole = dict(model=model, use='development' if development else 'report', versions=VERSIONS, **machine(),
                 teacher_k=(teacher_logits.argmax(1)==y).sum().item(), teacher=teacher_hash(teacher))
    for seed,b,stage in [(s, b, t) for s in seeds.split() for b in bits.split() for t in ('rounded', 'student')]:
        key = dict(model=model, wbits=int(b[0]), abits=int(b[1]), seed=int(seed), stage=stage, use=whole['use'])
        key |= settings[b]
        if any(all(r.get(k, v)==v for k,v in key.items()) for r in rows): continue
        file,made = packed_at(folder, model, b, seed, stage),noted(folder, model, b, seed, settings[b])
        if made is None: continue
        rows.add(key | count(file, card, teacher_logits, x, y) | whole | made)
        print({k: rows[-1][k] for k in (*key, 'k', 'n', 'teacher_k', 'same', 'kl')}, flush=True)
