"""isinf."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.isinf, np.isinf, differentiable=False, integers="bool")
