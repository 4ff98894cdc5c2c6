"""squeeze: without axes of size 1, all of them or those named."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, dim):
    def reference(x):
        if dim is None:
            return np.squeeze(x)
        axes = dim if isinstance(dim, tuple) else (dim,)
        return np.squeeze(x, tuple(a for a in axes if shape[a] == 1))

    return Call([Float(shape)], lambda x: tt.squeeze(x, dim), reference)


def case(draw):
    shape = tuple(1 if draw(st.booleans()) else n for n in draw(shapes()))
    if not shape or draw(st.booleans()):
        return _call(shape, None)
    axis = st.integers(-len(shape), len(shape) - 1)
    if draw(st.booleans()):
        return _call(shape, draw(axis))
    return _call(shape, tuple(draw(st.sets(axis.map(lambda a: a % len(shape))))))


ROW = Row(case, _call((150, 1, 301), 1), integers=True)
