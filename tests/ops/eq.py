"""eq, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.eq, np.equal, differentiable=False, integers="bool")
