"""expm1."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.expm1, np.expm1, integers="float32")
