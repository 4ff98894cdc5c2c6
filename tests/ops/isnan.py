"""isnan."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.isnan, np.isnan, differentiable=False, integers="bool")
