"""movedim: axes moved to other places."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, source, destination):
    return Call(
        [Float(shape)],
        lambda x: tt.movedim(x, source, destination),
        lambda x: np.moveaxis(x, source, destination),
    )


def case(draw):
    shape = draw(shapes(1))
    order = st.permutations(range(len(shape)))
    count = draw(st.integers(0, len(shape)))
    return _call(
        shape, tuple(draw(order)[:count]), tuple(a - len(shape) for a in draw(order)[:count])
    )


ROW = Row(case, _call((30, 40, 50), 0, -1), integers=True)
