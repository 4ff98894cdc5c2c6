"""logical_or, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.logical_or, np.logical_or, differentiable=False, integers="bool")
