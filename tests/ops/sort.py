"""sort: along any axis, either way, with the indices."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axis_within, shapes


def order(x, axis, descending):
    """The stable one."""
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis, kind="stable")
    last = x.shape[axis] - 1
    return np.flip(last - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


def _call(shape, dim, descending):
    def reference(x):
        at = order(x, dim, descending)
        return (np.take_along_axis(x, at, dim) if x.ndim else x), at

    return Call([Float(shape, distinct=True)], lambda x: tt.sort(x, dim, descending), reference)


def case(draw):
    shape = draw(shapes())
    return _call(shape, axis_within(draw, shape), draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), 1, False), integers=True)
