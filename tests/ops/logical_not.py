"""logical_not."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.logical_not, np.logical_not, differentiable=False, integers="bool")
