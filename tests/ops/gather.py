"""gather."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Index, Row, shapes


def call(shape, index_shape, axis):
    return Call(
        [Float(shape), Index(index_shape, shape[axis])],
        lambda x, index: tt.gather(x, axis - len(shape), index),
        lambda x, index: np.take_along_axis(
            x[tuple(slice(None if i == axis else n) for i, n in enumerate(index_shape))],
            index,
            axis,
        ),
    )


def index_shapes(draw, shape, axis):
    """No longer than shape but along the axis, where there must be something to take."""
    index = [draw(st.integers(0, n)) for n in shape]
    index[axis] = draw(st.integers(0, 4)) if shape[axis] else 0
    return tuple(index)


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    return call(shape, index_shapes(draw, shape, axis), axis)


ROW = Row(case, call((40, 50, 30), (40, 60, 30), 1), integers=True)
