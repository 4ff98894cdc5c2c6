"""any: whether an element is not zero."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.any, np.any, differentiable=False, integers="bool")
