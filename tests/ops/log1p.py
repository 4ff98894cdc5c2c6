"""log1p."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.log1p, np.log1p, low=-0.8, high=3.0, integers="float32")
