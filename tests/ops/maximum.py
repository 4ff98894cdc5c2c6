"""maximum, broadcast, of different numbers."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.maximum, np.maximum, distinct=True, integers=True)
