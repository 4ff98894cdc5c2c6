"""all: whether no element is zero."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.all, np.all, differentiable=False, integers="bool")
