"""tanh."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.tanh, np.tanh, integers="float32")
