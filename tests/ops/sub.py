"""sub, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.sub, np.subtract, integers=True)
