"""narrow: a piece of one axis."""

from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, axis, start, length):
    index = (slice(None),) * (axis % len(shape)) + (slice(start, start + length),)
    return Call([Float(shape)], lambda x: tt.narrow(x, axis, start, length), lambda x: x[index])


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    start = draw(st.integers(0, shape[axis]))
    return _call(shape, axis, start, draw(st.integers(0, shape[axis] - start)))


ROW = Row(case, _call((30, 100, 50), 1, 3, 90), integers=True)
