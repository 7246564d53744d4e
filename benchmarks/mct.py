"""Sony's model-compression-toolkit beside this package: its images for our fine-tuning, and ours for its GPTQ.

    python -m venv mct && mct/bin/pip install -e . model-compression-toolkit
    mct/bin/python benchmarks/mct.py --weights resnet20.safetensors --data test_8983.npz --real train_5085.npz

An environment of its own, because it asks for other versions of some libraries. All images are of one number, and both
tools train for the same number of steps; what else there is to choose is each tool's own default, but for the Hessians
by which its GPTQ weighs layers and images, which are left out: they took it nine minutes a run on one core. Its 8-bit
activations have steps that are powers of two, as its default hardware asks for. It rounds all layers to the bits that
are asked for, while our default keeps the first and the last at eight; 'synq_nb, all layers' does as it does.
Photographs are an upper bound. Writes benchmarks/results/mct.json; finished rows are kept."""
import importlib.metadata
from fastcore.script import call_parse
import model_compression_toolkit as mct
from model_compression_toolkit.core.common.network_editors import NodeTypeFilter
from bench import *

def its_images(teacher, n, seed, file):
    "Images by its data generation, and the seconds they took"
    if file.exists(): return torch.load(file, weights_only=True)
    torch.manual_seed(seed)
    config = mct.data_generation.get_pytorch_data_generation_config(data_gen_batch_size=64, extra_pixels=4)
    start = time.perf_counter()
    made = mct.data_generation.pytorch_data_generation_experimental(teacher, n, (32, 32), config)
    found = torch.cat([x.reshape(-1, 3, 32, 32) for x in made])[:n].cpu(),time.perf_counter()-start
    with atomic(file) as tmp: torch.save(found, tmp)
    return found

def as_set(teacher, x, y):
    "Images for our learner; windows come from a reflected border"
    x = torch.nn.functional.pad(x, [4]*4, mode='reflect')
    meta = dict(shape=(3, 32, 32), n_out=10, flip=True, teacher=teacher_hash(teacher), log=[])
    return SyntheticDataset(x.half(), y, meta)

def sources(teacher, n, seed, real, cache):
    "Name → data set for our learner, images for its GPTQ, seconds to make them"
    gen = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, 3, 32, 32, generator=gen)
    its,s_its = its_images(teacher, n, seed, Path(cache)/f'mct_{seed}_{n}.pt')
    ours,s_ours = cached_images(teacher, choose_recipe('fast').images | dict(n=n), seed, cache)
    photos = load_images(real).tensors[0][torch.randperm(n, generator=gen)]
    def set_of(x): return as_set(teacher, x, in_batches(teacher, x).argmax(1))
    return {'Gaussian noise': (set_of(noise), noise, 0.), "toolkit's": (set_of(its), its, s_its),
            'ours': (ours, ours.images(), s_ours), 'photographs': (set_of(photos), photos, 0.)}

def core_config(wbits):
    "Its own eight bits everywhere, or other weights"
    bits = mct.core.BitWidthConfig()
    layers = [NodeTypeFilter(torch.nn.Conv2d), NodeTypeFilter(torch.nn.Linear)]
    if wbits!=8: bits.set_manual_weights_bit_width(layers, wbits, ['weight'])
    return dict(core_config=mct.core.CoreConfig(bit_width_config=bits),
                target_platform_capabilities=mct.get_target_platform_capabilities())

def by_rounding(teacher, data, x, wbits, epochs, seed):
    def batches(): yield from ([b] for b in x.split(32))
    return mct.ptq.pytorch_post_training_quantization(teacher, batches, **core_config(wbits))[0]

def by_gptq(teacher, data, x, wbits, epochs, seed):
    torch.manual_seed(seed)
    def batches(): yield from ([b] for b in x.split(32))
    config = mct.gptq.get_pytorch_gptq_config(epochs, use_hessian_based_weights=False,
                                              use_hessian_sample_attention=False)
    fit = mct.gptq.pytorch_gradient_post_training_quantization
    return fit(teacher, batches, gptq_config=config, **core_config(wbits))[0]

def by_us(teacher, data, x, wbits, epochs, seed, **changes):
    # an eighth of the images is held out
    recipe = choose_recipe('fast').changed(epochs=round(epochs*8/7), **changes)
    learn = synq_learner(teacher, data, wbits, 8, seed=seed, **recipe.learner)
    fit_learner(learn, progress=False, **recipe.fit)
    return learn.model

def by_us_everywhere(teacher, data, x, wbits, epochs, seed):
    first,*_,last = quantizable(teacher)
    return by_us(teacher, data, x, wbits, epochs, seed, overrides={name: (wbits, 8) for name in (first, last)})

WAYS = {'toolkit, rounded': by_rounding, 'toolkit, GPTQ': by_gptq, 'synq_nb': by_us,
        'synq_nb, all layers': by_us_everywhere}

@call_parse
def main(weights:str=None, # checkpoint of the teacher
         data:str=None, # .npz of labelled images, to count
         real:str=None, # .npz of photographs for the upper bound
         model:str='resnet20_cifar10', # zoo name
         bits:str='8 4 2', # weight bits; activations have eight
         n:int=512, # images of each source
         epochs:int=20, # passes over them
         seeds:str='0', # of images and training
         cache:str='runs/cache', # folder for images
         out:str=str(RESULTS/'mct.json') # result file
        ):
    "Each source of images with each tool"
    torch.set_num_threads(1)
    out,teacher,test = Path(out),load_model(model, weights),load_images(data)
    rows = Rows(out)
    whole = evaluate(teacher, test)
    versions = VERSIONS | {'model-compression-toolkit': importlib.metadata.version('model-compression-toolkit')}
    for seed in map(int, seeds.split()):
        for source,(images,x,s_images) in sources(teacher, n, seed, real, cache).items():
            for wbits,(way,make) in ((int(w), item) for w in bits.split() for item in WAYS.items()):
                if wbits==8 and make is by_us_everywhere: continue  # the same as by default
                about = dict(model=model, data=Path(data).name, images=source, way=way, wbits=wbits, abits=8, seed=seed,
                             n_images=n, epochs=epochs)
                if rows.has(about): continue
                start = time.perf_counter()
                student = make(teacher, images, x, wbits, epochs, seed).eval()
                took = time.perf_counter()-start
                acc,kl = evaluate(student, test),teacher_gap(student, teacher, test.tensors[0])[0]
                rows.add(about | dict(k=acc.k, n=acc.n, teacher_k=whole.k, real_kl=finite(kl), s_fit=round(took, 1),
                                         s_images=round(s_images, 1), images_hash=images_hash(images),
                                         versions=versions, **machine()))
                print(f'W{wbits}A8 seed {seed}, {way}, images {source}: {acc}, KL {kl:.4f}, {took:.0f} s', flush=True)
