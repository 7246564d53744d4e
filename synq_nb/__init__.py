"Zero-shot quantisation, defined and explained in notebooks"
__version__ = "0.0.1"

import warnings
warnings.filterwarnings('ignore', message='`torch.jit.script', category=FutureWarning)  # raised by fastai and torchvision on import
