"""add, broadcast."""

import numpy as np

import tinytape as tt

from . import binary

ROW = binary(tt.add, np.add, integers=True)
