"""log_softmax over any axis."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _log_softmax(x, axis):
    if x.size == 0:
        return x
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _call(shape, axis):
    return Call([Float(shape)], lambda x: tt.log_softmax(x, axis), lambda x: _log_softmax(x, axis))


def case(draw):
    shape = draw(shapes(1))
    return _call(shape, draw(st.integers(-len(shape), len(shape) - 1)))


ROW = Row(case, _call((130, 400), 0))
