"""embedding_backward: rows added into a table of zeros; the gradient of embedding."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import SIDES, Call, Float, Index, Row, shapes


def _call(rows, width, index_shape):
    def reference(given, index):
        table = np.zeros((rows, width))
        np.add.at(table, index, given)
        return table

    def run(given, index):
        return apply(OPS["embedding_backward"], (given, index), (rows,))

    return Call([Float((*index_shape, width)), Index(index_shape, rows)], run, reference)


def case(draw):
    return _call(draw(st.integers(1, 5)), draw(SIDES), draw(shapes(0, 3)))


ROW = Row(case, _call(50, 200, (40, 30)))
