"""scatter_add."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Index, Row, shapes
from .gather import index_shapes


def _call(shape, index_shape, src_shape, axis):
    def reference(x, index, src):
        out = x.copy()
        places = list(np.indices(index_shape))
        places[axis] = index
        np.add.at(out, tuple(places), src[tuple(slice(n) for n in index_shape)])
        return out

    return Call(
        [Float(shape), Index(index_shape, shape[axis]), Float(src_shape)],
        lambda x, index, src: tt.scatter_add(x, axis, index, src),
        reference,
    )


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    index = index_shapes(draw, shape, axis)
    return _call(shape, index, tuple(n + draw(st.integers(0, 1)) for n in index), axis)


ROW = Row(case, _call((40, 50, 30), (40, 60, 30), (40, 60, 30), 1), integers=True)
