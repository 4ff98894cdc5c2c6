"""logical_and, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.logical_and, np.logical_and, differentiable=False, integers="bool")
