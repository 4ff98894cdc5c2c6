"""trunc, away from whole numbers."""

import numpy as np

import tinytape as tt

from . import unary

ROW = unary(
    tt.trunc,
    np.trunc,
    low=-2.4,
    high=2.4,
    gap=0.1,
    kinks=(-2.0, -1.0, 0.0, 1.0, 2.0),
    integers=True,
)
