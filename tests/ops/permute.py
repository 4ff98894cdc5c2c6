"""permute: the axes in any order."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, order):
    return Call([Float(shape)], lambda x: tt.permute(x, order), lambda x: np.transpose(x, order))


def case(draw):
    shape = draw(shapes())
    order = draw(st.permutations(range(len(shape)))) if shape else ()
    return _call(shape, tuple(a - len(shape) if draw(st.booleans()) else a for a in order))


ROW = Row(case, _call((30, 40, 50), (2, 0, 1)), integers=True)
