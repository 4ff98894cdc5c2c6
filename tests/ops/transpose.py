"""transpose: two axes exchanged."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, i, j):
    return Call([Float(shape)], lambda x: tt.transpose(x, i, j), lambda x: np.swapaxes(x, i, j))


def case(draw):
    shape = draw(shapes(1))
    axes = st.integers(-len(shape), len(shape) - 1)
    return _call(shape, draw(axes), draw(axes))


ROW = Row(case, _call((40, 50, 60), 0, -1), integers=True)
