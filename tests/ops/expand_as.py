"""expand_as: stretched to the shape of another tensor."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, target):
    return Call(
        [Float(shape)],
        lambda x: tt.expand_as(x, tt.zeros(target)),
        lambda x: np.broadcast_to(x, target),
    )


def case(draw):
    target = draw(shapes())
    shape = [1 if draw(st.booleans()) else n for n in target]
    return _call(tuple(shape[draw(st.integers(0, len(shape))) :]), target)


ROW = Row(case, _call((301,), (150, 301)), integers=True)
