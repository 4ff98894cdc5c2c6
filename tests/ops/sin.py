"""sin."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.sin, np.sin, low=-9.0, high=9.0, integers="float32")
