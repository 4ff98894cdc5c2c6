"""view_as: the shape of another tensor, sharing storage."""

from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, target):
    return Call(
        [Float(shape)],
        lambda x: tt.view_as(x.contiguous(), tt.zeros(target)),
        lambda x: x.reshape(target),
    )


def case(draw):
    shape = draw(shapes())
    return _call(shape, (*draw(st.permutations(shape)), 1))


ROW = Row(case, _call((30, 40, 50), (40, 1, 1500)), integers=True)
