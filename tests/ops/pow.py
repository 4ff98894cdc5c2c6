"""pow: positive tensors to tensors, tensors of both signs to whole numbers, numbers to tensors.
Other numbers are pow_number's row; 0 and 1 are left out because bools would become integers."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, broadcast_pairs, shapes


def _power(a, b):
    """Of integers: without the fraction that a negative exponent makes."""
    y = np.power(np.asarray(a, np.float64), b)
    return y if np.asarray(a).dtype.kind == "f" else np.trunc(y)


def _tensors(a, b):
    return Call([Float(a, low=1.2, high=2.4), Float(b)], tt.pow, _power)


def _to_number(shape, p):
    base = Float(shape, low=-2.4, high=2.4, gap=1.2)
    return Call([base], lambda x: tt.pow(x, p), lambda x: x**p)


def _of_number(shape, base):
    return Call([Float(shape, low=1.2)], lambda x: tt.pow(base, x), lambda x: base**x)


def case(draw):
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return _tensors(*draw(broadcast_pairs()))
    if kind == 1:
        return _to_number(draw(shapes()), draw(st.sampled_from((0, 1, 2, 3, 4))))
    return _of_number(draw(shapes()), draw(st.sampled_from((2, 3))))


ROW = Row(case, _tensors((150, 301), (301,)), integers=True)
