"""diagonal: the elements (i, i + offset) of two axes."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, offset, i, j):
    return Call(
        [Float(shape)],
        lambda x: tt.diagonal(x, offset, i, j),
        lambda x: np.diagonal(x, offset, i, j),
    )


def case(draw):
    shape = draw(shapes(2))
    i, j = draw(st.permutations(range(len(shape))))[:2]
    return _call(shape, draw(st.integers(-6, 6)), i, j - len(shape))


ROW = Row(case, _call((150, 40, 301), 3, 0, 2), integers=True)
