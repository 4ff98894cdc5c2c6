"""softplus, with thresholds inside and outside of the values."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Row, shapes


def _call(shape, beta, threshold):
    return Call(
        [Float(shape, low=-4.0, high=4.0, gap=0.1, kinks=(threshold / beta,))],
        lambda x: F.softplus(x, beta, threshold),
        lambda x: np.where(beta * x > threshold, x, np.log1p(np.exp(beta * x)) / beta),
    )


def case(draw):
    return _call(draw(shapes()), *draw(st.sampled_from(((1, 20), (2.5, 20), (2, 1), (-0.5, 0.5)))))


ROW = Row(case, _call((150, 301), 2, 1))
