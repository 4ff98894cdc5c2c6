"""abs, away from zero."""

import numpy as np

import tinytape as tt

from . import of_numbers, unary

ROW = unary(tt.abs, of_numbers(np.abs), gap=0.1, integers=True)
