"""A network with depthwise convolutions, rounded with and without channels of one size, over seeds.

    python benchmarks/equalized.py --weights mobilenet_v1_025.safetensors --data val_1300

Nothing is fine-tuned: ranges come from `n` synthetic images. `k` of `n` counts what the student recognises of the
photographs after the first `first` by name, and `file` what the integers of its packed file do; `kl` and `file_kl`
compare both with the teacher there. Writes benchmarks/results/equalized.json; finished rows are kept."""
from pathlib import Path
import torch
from fastcore.script import call_parse
from torch.utils.data import Subset
from bench import RESULTS, VERSIONS, Rows, finite, images_hash, machine
from calibration import stack
from synq_nb.all import *

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # folder of images and labels.csv
         model:str='mobilenet_v1:card', # as `synq quantize` takes it
         bits:str='88 66 48', # W and A bits
         seeds:str='0 1 2', # of images
         n:int=128, # synthetic images
         first:int=300, # photographs, by name, that do not count
         cache:str='runs/equalized', # folder for images
         out:Path=RESULTS/'equalized.json' # result file
        ):
    "Round, convert, count"
    torch.set_num_threads(1)
    rows = Rows(out)
    card,teacher = model_card(model),load_model(model, weights)
    files = load_images(data, card, 1000)
    x,y = stack(Subset(files, range(first, len(files)))),torch.tensor(files.labels)[first:]
    due = in_batches(teacher, x, 50)
    def count(net):
        logits = in_batches(net, x, 50)
        return (logits.argmax(1)==y).sum().item(),finite(KLLoss()(logits, None, due).item())
    for seed in map(int, seeds.split()):
        images = synthesize(teacher, n, card.size, 40, seed=seed, flip=card.flip, progress='log',
                            path=Path(cache)/f'{teacher_hash(teacher)[:8]}-{n}-{seed}.safetensors')
        for b,on in ((b, on) for b in bits.split() for on in (False, True)):
            about = dict(model=model, wbits=int(b[0]), abits=int(b[1]), seed=seed, equalized=on, n_images=n)
            if rows.has(about): continue
            learn = synq_learner(teacher, images, int(b[0]), int(b[1]), equalized=on, seed=seed)
            k,kl = count(learn.model)
            file,file_kl = count(convert(learn.model, learn.seen(64)))
            rows.add(about | dict(k=k, kl=kl, file=file, file_kl=file_kl, n=len(y), use='report',
                                     teacher_k=(due.argmax(1)==y).sum().item(), teacher=teacher_hash(teacher),
                                     images_hash=images_hash(images), versions=VERSIONS, **machine()))
            print(about, k, kl, file, file_kl, flush=True)
