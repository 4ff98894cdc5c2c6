"""ge, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.ge, np.greater_equal, differentiable=False, integers="bool")
