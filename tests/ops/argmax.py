"""argmax: where the largest is, along an axis or of all."""

import numpy as np

import tinytape as tt

from . import reduction

ROW = reduction(
    tt.argmax,
    np.argmax,
    several=False,
    nothing=False,
    differentiable=False,
    distinct=True,
    integers="int64",
)
