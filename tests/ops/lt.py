"""lt, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.lt, np.less, differentiable=False, integers="bool")
