"""neg."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.neg, np.negative, integers=True)
