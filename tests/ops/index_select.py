"""index_select."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Index, Row, shapes


def _call(shape, axis, n):
    return Call(
        [Float(shape), Index((n,), shape[axis])],
        lambda x, index: tt.index_select(x, axis, index),
        lambda x, index: np.take(x, index, axis),
    )


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    return _call(shape, axis, draw(st.integers(0, 4)) if shape[axis] else 0)


ROW = Row(case, _call((40, 50, 30), 1, 70), integers=True)
