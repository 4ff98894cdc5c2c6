"""argmin: where the smallest is, along an axis or of all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(
    tt.argmin,
    np.argmin,
    several=False,
    nothing=False,
    differentiable=False,
    distinct=True,
    integers="int64",
)
