"""unbind: the slices along an axis, without it."""

from hypothesis import assume
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, axis):
    def reference(x):
        return tuple(x.take(i, axis) for i in range(shape[axis]))

    return Call([Float(shape)], lambda x: tt.unbind(x, axis), reference)


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    assume(shape[axis] > 0)
    return _call(shape, axis)


ROW = Row(case, _call((3, 150, 301), 0), integers=True)
