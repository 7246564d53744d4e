"Everything public, for `from synq_nb.all import *`; the command line stays in `synq_nb.cli`"
from synq_nb.core import *
from synq_nb.figures import *
from synq_nb.zoo import *
from synq_nb.quantize import *
from synq_nb.lowpass import *
from synq_nb.synthesize import *
from synq_nb.distill import *
from synq_nb.cam import *
from synq_nb.difficulty import *
from synq_nb.learner import *
from synq_nb.recipes import *
from synq_nb.integers import *
from synq_nb.runtime import *
from synq_nb.explore import *
from synq_nb.runs import *
