"""softmax over any axis."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _softmax(x, axis):
    if x.size == 0:
        return x
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _call(shape, axis):
    return Call([Float(shape)], lambda x: tt.softmax(x, axis), lambda x: _softmax(x, axis))


def case(draw):
    shape = draw(shapes(1))
    return _call(shape, draw(st.integers(-len(shape), len(shape) - 1)))


ROW = Row(case, _call((400, 130), -1))
