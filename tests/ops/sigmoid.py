"""sigmoid."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.sigmoid, lambda x: 1 / (1 + np.exp(-x)), low=-6.0, high=6.0, integers="float32")
