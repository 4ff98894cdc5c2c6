"""round, away from halves of the unit that it rounds to."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, decimals):
    unit = 10.0**-decimals
    kinks = tuple(k * unit for k in (-1.5, -0.5, 0.5, 1.5))
    return Call(
        [Float(shape, low=-2.4 * unit, high=2.4 * unit, gap=0.1 * unit, kinks=kinks)],
        lambda x: tt.round(x, decimals=decimals),
        lambda x: np.round(x, decimals),
    )


def case(draw):
    return _call(draw(shapes()), draw(st.sampled_from((0, 0, 1, -1))))


ROW = Row(case, _call((150, 301), 0), integers=None)
