"""flip: the elements along some axes in reverse order."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, axes):
    return Call([Float(shape)], lambda x: tt.flip(x, axes), lambda x: np.flip(x, axes))


def case(draw):
    shape = draw(shapes())
    axes = draw(st.sets(st.integers(0, len(shape) - 1))) if shape else ()
    return _call(shape, tuple(a - draw(st.sampled_from((0, len(shape)))) for a in axes))


ROW = Row(case, _call((30, 40, 50), (0, 2)), integers=True)
