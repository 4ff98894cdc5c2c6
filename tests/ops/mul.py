"""mul, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.mul, np.multiply, integers=True)
