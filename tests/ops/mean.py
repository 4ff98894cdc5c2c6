"""mean: over one axis, several, all."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import SIDES, Call, Float, Row


def _call(shape, dim, keepdim):
    return Call(
        [Float(shape)],
        lambda x: tt.mean(x, dim, keepdim),
        lambda x: np.mean(x, dim, keepdims=keepdim),
    )


def case(draw):
    # The mean over nothing is NaN and has a test of its own.
    shape = tuple(draw(st.lists(SIDES.filter(bool), max_size=4)))
    axes = draw(st.permutations(range(len(shape)))) if shape else []
    axes = tuple(axes[: draw(st.integers(0, len(shape)))])
    return _call(shape, axes or None, draw(st.booleans()))


ROW = Row(case, _call((40, 50, 60), (0, 2), False), integers="float32")
