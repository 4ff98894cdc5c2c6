"""squeeze: without axes of size 1, all of them or one."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, dim):
    def reference(x):
        return x if dim is not None and shape[dim] != 1 else np.squeeze(x, dim)

    return Call([Float(shape)], lambda x: tt.squeeze(x, dim), reference)


def case(draw):
    shape = tuple(1 if draw(st.booleans()) else n for n in draw(shapes()))
    if not shape or draw(st.booleans()):
        return _call(shape, None)
    return _call(shape, draw(st.integers(-len(shape), len(shape) - 1)))


ROW = Row(case, _call((150, 1, 301), 1), integers=True)
