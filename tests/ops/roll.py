"""roll: the elements moved along some axes, or as if there were one."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, shifts, dims):
    return Call(
        [Float(shape)], lambda x: tt.roll(x, shifts, dims), lambda x: np.roll(x, shifts, dims)
    )


def case(draw):
    shape, places = draw(shapes()), st.integers(-9, 9)
    if not shape or draw(st.integers(0, 3)) == 0:
        return _call(shape, draw(places), None)
    axes = draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=4))
    return _call(shape, tuple(draw(places) for _ in axes), tuple(axes))


ROW = Row(case, _call((30, 40, 50), (7, -3), (0, 1)), integers=True)
