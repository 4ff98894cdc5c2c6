"""round, away from halves; with decimals, away from halves of the last of them."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes

KINKS = tuple(k / 4 for k in range(-10, 11))  # halves of whole numbers and of tens alike


def _call(shape, decimals):
    return Call(
        [Float(shape, low=-2.4, high=2.4, gap=0.02, kinks=KINKS)],
        lambda x: tt.round(x, decimals=decimals),
        lambda x: np.round(x, decimals),
    )


ROW = Row(
    lambda draw: _call(draw(shapes()), draw(st.sampled_from((0, 0, -1)))), _call((150, 301), 0)
)
