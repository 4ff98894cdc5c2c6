"""tile: the last axes several times over."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, times):
    return Call([Float(shape)], lambda x: tt.tile(x, times), lambda x: np.tile(x, times))


def case(draw):
    shape = draw(shapes(0, 3))
    times = draw(st.lists(st.integers(0, 3), min_size=0, max_size=4))
    return _call(shape, tuple(times))


ROW = Row(case, _call((30, 1, 50), (2, 30, 1)), integers=True)
