"""bitwise_not, of integers and of bools."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Index, Mask, Row, shapes


def _call(given):
    return Call([given], tt.bitwise_not, np.bitwise_not)


def case(draw):
    shape = draw(shapes())
    return _call(Mask(shape) if draw(st.booleans()) else Index(shape, 99))


ROW = Row(case, _call(Index((150, 301), 99)), differentiable=False)
