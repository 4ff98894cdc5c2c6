"""embedding: rows of a table, some of them several times; or parts that stand for other axes."""

import math

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply
from tinytape.nn import functional as F

from . import SIDES, Call, Float, Index, Row, shapes


def _call(rows, width, index_shape):
    return Call(
        [Float((rows, width)), Index(index_shape, rows)],
        lambda table, index: F.embedding(index, table),
        lambda table, index: table[index],
    )


def _call_along(shape, axis, count, index_shape):
    sizes = shape[axis : axis + count]

    def reference(table, index):
        merged = table.reshape(*shape[:axis], math.prod(sizes), *shape[axis + count :])
        return np.take(merged, index, axis)

    return Call(
        [Float(shape), Index(index_shape, math.prod(sizes))],
        lambda table, index: apply(OPS["embedding"], (table, index), (axis, count)),
        reference,
    )


def axes(draw, shape):
    """Some neighbouring axes, and the shape of an index that finds something there."""
    axis = draw(st.integers(0, len(shape) - 1))
    count = draw(st.integers(1, len(shape) - axis))
    index_shape = draw(shapes(0, 2)) if math.prod(shape[axis : axis + count]) else (0,)
    return axis, count, index_shape


def case(draw):
    if draw(st.booleans()):
        return _call(draw(st.integers(1, 5)), draw(SIDES), draw(shapes(0, 3)))
    shape = draw(shapes(1))
    return _call_along(shape, *axes(draw, shape))


ROW = Row(case, _call(50, 200, (40, 30)), integers=True)
