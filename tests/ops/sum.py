"""sum: over one axis, several, all."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, dim, keepdim):
    return Call(
        [Float(shape)],
        lambda x: tt.sum(x, dim, keepdim),
        lambda x: np.sum(x, dim, keepdims=keepdim),
    )


def case(draw):
    shape = draw(shapes())
    axes = draw(st.permutations(range(len(shape)))) if shape else []
    axes = tuple(axes[: draw(st.integers(0, len(shape)))])
    axes = tuple(a - len(shape) if draw(st.booleans()) else a for a in axes)
    if len(axes) == 1 and draw(st.booleans()):
        return _call(shape, axes[0], draw(st.booleans()))
    return _call(shape, axes or None, draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), (0, 2), False), integers="int64")
