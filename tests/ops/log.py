"""log, on positive numbers."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.log, np.log, low=0.3, high=3.0, integers="float32")
