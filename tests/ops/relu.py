"""relu, away from zero."""

import numpy as np

import tinytape as tt

from . import of_numbers, unary

ROW = unary(tt.relu, of_numbers(lambda x: np.where(x > 0, x, 0)), gap=0.1, integers=True)
