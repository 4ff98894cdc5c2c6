"""stack: tensors of one shape along a new axis."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, count, axis):
    return Call(
        [Float(shape)] * count,
        lambda *xs: tt.stack(xs, axis),
        lambda *xs: np.stack(xs, axis),
    )


def case(draw):
    shape = draw(shapes())
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return _call(shape, draw(st.integers(1, 10)), axis)


ROW = Row(case, _call((50, 301), 3, 1), integers=True)
