"MobileNetV1 at a quarter of its width, with the layer names of a public checkpoint; `mobilenet_v1:card` names it"
import torch.nn as nn
from synq_nb.zoo import ModelCard

def full(c_in, c_out, stride):
    "3×3 convolution, BatchNorm, leaky ReLU"
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.LeakyReLU(.1))

def separable(c_in, c_out, stride):
    "3×3 convolution of each channel on its own, then 1×1 over channels, each with BatchNorm and leaky ReLU"
    return nn.Sequential(nn.Conv2d(c_in, c_in, 3, stride, 1, groups=c_in, bias=False), nn.BatchNorm2d(c_in),
                         nn.LeakyReLU(.1), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out),
                         nn.LeakyReLU(.1))

class MobileNetV1(nn.Module):
    "MobileNetV1 ×0.25 for 224×224 pixels and 1,000 classes"
    def __init__(self):
        super().__init__()
        steps = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(full(3, 8, 2), *[separable(*s) for s in steps])
        self.stage2 = nn.Sequential(separable(64, 128, 2), *[separable(128, 128, 1) for _ in range(5)])
        self.stage3 = nn.Sequential(separable(128, 256, 2), separable(256, 256, 1))
        self.fc = nn.Linear(256, 1000)
    def forward(self, x): return self.fc(self.stage3(self.stage2(self.stage1(x))).mean((2,3)))

card = ModelCard('mobilenet_v1', MobileNetV1, None, 224, resize=256)
