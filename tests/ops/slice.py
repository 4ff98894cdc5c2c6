"""slice: start, start + step, ... along an axis."""

from hypothesis import strategies as st

from . import Call, Float, Row, shapes


def _call(shape, axis, part):
    index = (slice(None),) * axis + (part,)
    return Call([Float(shape)], lambda x: x[index], lambda x: x[index])


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    ends = st.none() | st.integers(-6, 6)
    return _call(shape, axis, slice(draw(ends), draw(ends), draw(st.integers(1, 3))))


ROW = Row(case, _call((30, 100, 50), 1, slice(3, 90, 2)), integers=True)
