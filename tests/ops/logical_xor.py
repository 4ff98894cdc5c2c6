"""logical_xor, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.logical_xor, np.logical_xor, differentiable=False, integers="bool")
