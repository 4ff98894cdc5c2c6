"""gt, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.gt, np.greater, differentiable=False, integers="bool")
