"""Is a fine-tuned student ever worse than the rounded network on wide grids? On a development network, over seeds.

    python benchmarks/wide.py --weights resnet32.safetensors --data test_1017.npz --unseen train_5085.npz

Writes benchmarks/results/wide.json: per row the rounded network and the student that the recipe returns, on juries of
images that no student was trained on and on photographs. `kl` is in nats, `agree` a share. Rows that are there are
skipped."""
from fastcore.script import call_parse
from bench import *
from jury import juries

def judge(model, teacher, sets, data):
    "KL and agreement on every set, and the count on labelled photographs"
    gaps = {name: teacher_gap(model, teacher, x) for name,x in sets.items()}
    return dict(k=evaluate(model, data).k, **{name: dict(kl=kl, agree=agree) for name,(kl,agree) in gaps.items()})

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz of labelled development images
         unseen:str=None, # .npz of more photographs
         model:str='resnet32_cifar10', # zoo name
         bits:str='88 66 48', # W and A bits
         seeds:str='0 1 2', # of images and fine-tuning
         recipe:str='auto', # of images and fine-tuning
         n:int=512, # images of a jury
         cache:str='runs/cache', # folder for image sets
         out:str=None # result file
        ):
    "Compare rounding and fine-tuning"
    torch.set_num_threads(1)
    out,card,teacher,test = Path(out or RESULTS/'wide.json'),ZOO[model],load_model(model, weights),load_images(data)
    rows = Rows(out)
    sets = juries(card, teacher, n, cache) | dict(photographs=test.tensors[0], unseen=load_images(unseen).tensors[0])
    hashes = {name: images_hash(x) for name,x in sets.items()}
    for seed,(w,a) in [(int(s), map(int, b)) for s in seeds.split() for b in bits.split()]:
        spec = dict(model=model, recipe=recipe, wbits=w, abits=a, seed=seed)
        if rows.has(spec): continue
        chosen = choose_recipe(recipe, QuantSpec(w, a), teacher)
        images,_ = cached_images(teacher, chosen.images, seed, cache)
        learn = synq_learner(teacher, images, w, a, seed=seed, **chosen.learner)
        row = spec | dict(data=Path(data).name, n=len(test), rounded=judge(learn.model, teacher, sets, test))
        start = time.perf_counter()
        fit_learner(learn, progress=False, **chosen.fit)
        row |= dict(s_finetune=round(time.perf_counter()-start, 1), kept=learn.kept, images_hash=images_hash(images),
                    jury_hash=hashes)
        rows.add(row | dict(student=judge(learn.model, teacher, sets, test), versions=VERSIONS, **machine()))
        worse = [k for k in sets if rows[-1]['student'][k]['kl']>row['rounded'][k]['kl']]
        print(f"W{w}A{a} seed {seed}: {learn.kept}, larger KL than rounding on {worse or 'no set'}", flush=True)
