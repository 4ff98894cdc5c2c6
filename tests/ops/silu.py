"""silu."""

import numpy as np

from tinytape.nn import functional as F

from . import unary

ROW = unary(F.silu, lambda x: x / (1 + np.exp(-x)), low=-6.0, high=6.0)
