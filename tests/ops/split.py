"""split: an axis in pieces of one size, or of several."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, given, dim):
    size = shape[dim]
    if isinstance(given, int):
        ends = list(range(given, size, given))
    else:
        ends = list(np.cumsum(given))[:-1]

    def reference(x):
        return tuple(np.split(x, ends, dim))

    return Call([Float(shape)], lambda x: tt.split(x, given, dim), reference)


def case(draw):
    shape = draw(shapes(1))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    if draw(st.booleans()):
        return _call(shape, draw(st.integers(1, 6)), dim)
    ends = sorted(draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
    sizes = np.diff([0, *ends, shape[dim]])
    return _call(shape, [int(n) for n in sizes], dim)


ROW = Row(case, _call((30, 100, 50), [30, 0, 70], 1), integers=True)
