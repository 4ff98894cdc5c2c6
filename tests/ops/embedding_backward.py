"""embedding_backward: parts added into a table of zeros; the gradient of embedding."""

import math

import numpy as np

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import Call, Float, Index, Row, shapes
from .embedding import axes


def _call(shape, axis, count, index_shape):
    sizes, size = shape[axis : axis + count], math.prod(shape[axis : axis + count])

    def reference(given, index):
        table = np.zeros((*shape[:axis], size, *shape[axis + count :]))
        np.add.at(table, (*[slice(None)] * axis, index), given)
        return table.reshape(shape)

    def run(given, index):
        return apply(OPS["embedding_backward"], (given, index), (axis, *sizes))

    parts = (*shape[:axis], *index_shape, *shape[axis + count :])
    return Call([Float(parts), Index(index_shape, size)], run, reference)


def case(draw):
    shape = draw(shapes(1))
    return _call(shape, *axes(draw, shape))


ROW = Row(case, _call((50, 200), 0, 1, (40, 30)))
