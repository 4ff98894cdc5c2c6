"""cat: tensors one after the other along an axis, fewer and more than the core joins at once."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import SIDES, Call, Float, Row, shapes


def _call(parts, axis):
    return Call(
        [Float(shape) for shape in parts],
        lambda *xs: tt.cat(xs, axis),
        lambda *xs: np.concatenate(xs, axis),
    )


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    count = draw(st.sampled_from((1, 2, 2, 3, 4, 8, 9, 17)))
    parts = [(*shape[:axis], draw(SIDES), *shape[axis + 1 :]) for _ in range(count)]
    return _call(parts, axis - draw(st.sampled_from((0, len(shape)))))


ROW = Row(case, _call([(40, n, 30) for n in (20, 1, 0, 50, 3, 4, 5, 6, 7)], 1), integers=True)
