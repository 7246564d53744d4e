"""SynQ as one would write it from the paper: clear, correct, and slow. `speed.py` measures the library against it.

The student is the library's own, so the difference is in the loop: complex FFT of every batch, teacher with gradients,
a forward and a full backward of its own for each network's Grad-CAM map, reductions for BatchNorm statistics, and
float32."""
import torch, torch.nn as nn, torch.nn.functional as F

def lowpass(x, cutoff):
    h,w = x.shape[-2:]
    v,u = torch.meshgrid(torch.arange(h)-h//2, torch.arange(w)-w//2, indexing='ij')
    G = torch.exp(-((v/h)**2+(u/w)**2)/(2*cutoff**2)).to(x.device)
    return torch.fft.ifft2(torch.fft.ifftshift(G*torch.fft.fftshift(torch.fft.fft2(x), dim=(-2,-1)), dim=(-2,-1))).real

def gradcam(model, layer, x, y):
    kept = {}
    def keep(module, args, out):
        out.retain_grad()
        kept['A'] = out
    hook = model.get_submodule(layer).register_forward_hook(keep)
    logits = model(x)
    hook.remove()
    grads = {p: p.grad for p in model.parameters()}
    logits.gather(1, y[:,None]).sum().backward(retain_graph=True)  # through the whole network
    for p,g in grads.items(): p.grad = g
    A = kept['A']
    S = F.relu((A.grad.mean((2,3), keepdim=True)*A).sum(1, keepdim=True))
    S = F.interpolate(S, x.shape[-2:], mode='bilinear')
    lo,hi = S.amin((2,3), keepdim=True),S.amax((2,3), keepdim=True)
    return (S-lo)/(hi-lo+1e-7)

def finetune_step(student, teacher, layer, x, y, opt, cutoff=.7, cam=10., ce=.1, tau=.5):
    x = lowpass(x, cutoff)
    t,s = teacher(x),student(x)
    kl = F.kl_div(s.log_softmax(1), t.softmax(1).detach(), reduction='batchmean')
    easy = 1-t.softmax(1).gather(1, y[:,None])[:,0]<=tau
    hard_labels = (F.cross_entropy(s, y, reduction='none')*easy).mean()
    maps = F.mse_loss(gradcam(student, layer, x, y), gradcam(teacher, layer, x, y).detach())
    opt.zero_grad(); (kl+ce*hard_labels+cam*maps).backward(); opt.step()

class Synthesis:
    "One batch of noise optimisation on pixels"
    def __init__(self, teacher, x, y, lr=.25):
        self.teacher,self.x,self.y = teacher,x.clone().requires_grad_(),y
        self.opt,self.stats = torch.optim.Adam([self.x], lr),[]
        for m in teacher.modules():
            if isinstance(m, nn.BatchNorm2d): m.register_forward_hook(self.collect)
    def collect(self, m, inp, out):
        x = inp[0]
        std = x.var((0,2,3), correction=0).sqrt()
        self.stats.append((x.mean((0,2,3))-m.running_mean).pow(2).sum()+(std-m.running_var.sqrt()).pow(2).sum())
    def step(self, beta=.1, gamma=.5):
        self.stats = []
        ce = F.cross_entropy(self.teacher(self.x), self.y, reduction='none')
        loss = sum(self.stats)/len(self.stats)+beta*((1-torch.exp(-ce)).clamp(min=1e-3)**gamma*ce).mean()
        self.opt.zero_grad(); loss.backward(); self.opt.step()
