"""minimum, broadcast, of different numbers."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.minimum, np.minimum, distinct=True, integers=True)
