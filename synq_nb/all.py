"Everything public, for `from synq_nb.all import *`"
from synq_nb.quantize import *
from synq_nb.synthesize import *
from synq_nb.lowpass import *
from synq_nb.distill import *
from synq_nb.cam import *
from synq_nb.softlabels import *
from synq_nb.learner import *
from synq_nb.zoo import *
from synq_nb.deploy import *
from synq_nb.explore import *
from synq_nb.cli import *
