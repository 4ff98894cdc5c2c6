"""chunk: an axis in at most so many pieces."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, chunks, dim):
    size = max(1, -(-shape[dim] // chunks))
    # an axis of size 0 gives as many pieces as asked
    ends = list(range(size, shape[dim], size)) if shape[dim] else [0] * (chunks - 1)
    return Call(
        [Float(shape)],
        lambda x: tt.chunk(x, chunks, dim),
        lambda x: tuple(np.split(x, ends, dim)),
    )


def case(draw):
    shape = draw(shapes(1))
    return _call(shape, draw(st.integers(1, 6)), draw(st.integers(-len(shape), len(shape) - 1)))


ROW = Row(case, _call((30, 100, 50), 3, 1), integers=True)
