"""triu: matrices with zeros below a diagonal."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, diagonal):
    return Call([Float(shape)], lambda x: tt.triu(x, diagonal), lambda x: np.triu(x, diagonal))


def case(draw):
    return _call(draw(shapes(2)), draw(st.integers(-6, 6)))


ROW = Row(case, _call((20, 60, 50), 3), integers=True)
