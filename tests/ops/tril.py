"""tril: matrices with zeros above a diagonal."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, diagonal):
    return Call([Float(shape)], lambda x: tt.tril(x, diagonal), lambda x: np.tril(x, diagonal))


def case(draw):
    return _call(draw(shapes(2)), draw(st.integers(-6, 6)))


ROW = Row(case, _call((20, 60, 50), 3), integers=True)
