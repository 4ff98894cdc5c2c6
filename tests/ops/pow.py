"""pow: positive tensors to tensors and to numbers, numbers to tensors, negative ones to whole
numbers."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, broadcast_pairs, shapes


def _tensors(a, b):
    return Call([Float(a, low=0.3, high=2.0), Float(b)], tt.pow, np.power)


def _to_number(shape, p):
    whole = p == int(p)
    base = Float(shape, gap=0.4) if whole else Float(shape, low=0.3)
    return Call([base], lambda x: tt.pow(x, p), lambda x: x**p)


def _of_number(shape, base):
    return Call([Float(shape)], lambda x: tt.pow(base, x), lambda x: base**x)


def case(draw):
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return _tensors(*draw(broadcast_pairs()))
    if kind == 1:
        return _to_number(draw(shapes()), draw(st.sampled_from((2, 3, 4, 0, 1, -1, -2, 2.5, 0.5))))
    return _of_number(draw(shapes()), draw(st.sampled_from((0.5, 2, 3.0))))


ROW = Row(case, _tensors((150, 301), (301,)), integers=None)
