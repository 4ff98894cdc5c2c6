"""slice_backward: a slice put into zeros; the gradient of slice."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import Call, Float, Row, shapes


def _call(shape, axis, start, step, size):
    length = shape[axis]

    def reference(x):
        full = np.zeros((*shape[:axis], size, *shape[axis + 1 :]))
        full[(slice(None),) * axis + (slice(start, start + step * length, step),)] = x
        return full

    def run(x):
        return apply(OPS["slice_backward"], (x,), (axis, start, step, length, size))

    return Call([Float(shape)], run, reference)


def case(draw):
    shape = draw(shapes(1))
    axis = draw(st.integers(0, len(shape) - 1))
    start, step = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    size = start + step * shape[axis] + draw(st.integers(0, 2))
    return _call(shape, axis, start, step, size)


ROW = Row(case, _call((30, 100, 50), 1, 3, 2, 210))
