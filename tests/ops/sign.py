"""sign, away from zero."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.sign, np.sign, gap=0.1, integers=True)
