"""max: of all, or along an axis with the index."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axis_within, shapes, without_nothing


def _call(shape, dim, keepdim):
    def reference(x):
        axis = dim if x.ndim else None
        return np.max(x, axis, keepdims=keepdim), np.argmax(x, axis, keepdims=keepdim)

    return Call([Float(shape, distinct=True)], lambda x: tt.max(x, dim, keepdim), reference)


def case(draw):
    shape = draw(shapes())
    if draw(st.integers(0, 3)) == 0:
        shape = without_nothing(shape, None)
        return Call([Float(shape, distinct=True)], tt.max, np.max)
    dim = axis_within(draw, shape)
    return _call(without_nothing(shape, dim), dim, draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), 1, False), integers=True)
