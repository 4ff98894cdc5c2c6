"""clone: a copy in row-major order."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.clone, np.copy, integers=True)
