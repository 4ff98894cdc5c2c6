"""square."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.square, np.square, integers=None)
