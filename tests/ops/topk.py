"""topk: the largest or smallest k along any axis, with their indices."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axis_within, shapes
from .sort import order


def _call(shape, k, dim, largest):
    def reference(x):
        if not x.ndim:
            return x, np.zeros((), np.int64)
        at = np.take(order(x, dim, largest), np.arange(k), dim)
        return np.take_along_axis(x, at, dim), at

    return Call([Float(shape, distinct=True)], lambda x: tt.topk(x, k, dim, largest), reference)


def case(draw):
    shape = (*draw(shapes(0, 2)), *([draw(st.integers(0, 20))] if draw(st.booleans()) else []))
    dim = axis_within(draw, shape)
    return _call(shape, draw(st.integers(0, shape[dim])) if shape else 1, dim, draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), 7, 1, True), integers=True)
