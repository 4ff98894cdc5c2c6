"""square; of bools it would be integers."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.square, np.square, low=-2.4, high=2.4, gap=1.2, integers=True)
