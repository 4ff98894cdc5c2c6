"""sum: over one axis, several, all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.sum, np.sum, integers="int64")
