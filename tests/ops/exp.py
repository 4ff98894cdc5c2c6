"""exp."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.exp, np.exp, integers="float32")
