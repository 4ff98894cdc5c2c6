"""le, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.le, np.less_equal, differentiable=False, integers="bool")
