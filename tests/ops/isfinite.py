"""isfinite."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.isfinite, np.isfinite, differentiable=False, integers="bool")
