"""prod: over one axis, or all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.prod, np.prod, several=False, integers="int64")
