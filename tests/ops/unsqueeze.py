"""unsqueeze: a new axis."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, dim):
    return Call([Float(shape)], lambda x: tt.unsqueeze(x, dim), lambda x: np.expand_dims(x, dim))


def case(draw):
    shape = draw(shapes())
    return _call(shape, draw(st.integers(-len(shape) - 1, len(shape))))


ROW = Row(case, _call((150, 301), 1), integers=True)
