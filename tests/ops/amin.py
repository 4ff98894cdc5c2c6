"""amin: the smallest over one axis, several, all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(tt.amin, np.min, nothing=False, distinct=True, integers=True)
