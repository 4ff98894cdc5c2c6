"""amax: the largest over one axis, several, all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.amax, np.max, nothing=False, distinct=True, integers=True)
