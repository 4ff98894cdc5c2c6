"""argsort: the indices of sort."""

from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axis_within, shapes
from .sort import order


def _call(shape, dim, descending):
    return Call(
        [Float(shape, distinct=True)],
        lambda x: tt.argsort(x, dim, descending),
        lambda x: order(x, dim, descending),
    )


def case(draw):
    shape = draw(shapes())
    return _call(shape, axis_within(draw, shape), draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), 1, False), differentiable=False, integers="int64")
