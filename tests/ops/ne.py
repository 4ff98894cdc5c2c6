"""ne, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.ne, np.not_equal, differentiable=False, integers="bool")
