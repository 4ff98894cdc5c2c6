"""ceil, away from whole numbers."""

import numpy as np

import tinytape as tt

from . import of_numbers, unary

WHOLE = (-2.0, -1.0, 0.0, 1.0, 2.0)
ROW = unary(tt.ceil, of_numbers(np.ceil), low=-2.4, high=2.4, gap=0.1, kinks=WHOLE, integers=True)
