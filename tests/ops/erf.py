"""erf."""

import math

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(tt.erf, np.vectorize(math.erf, otypes=[float]), integers="float32")
