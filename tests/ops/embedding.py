"""embedding: rows of a table, some of them several times."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Index, Row, shapes


def _call(rows, width, index_shape):
    return Call(
        [Float((rows, width)), Index(index_shape, rows)],
        lambda table, index: F.embedding(index, table),
        lambda table, index: table[index],
    )


def case(draw):
    return _call(draw(st.integers(1, 5)), draw(SIDES), draw(shapes(0, 3)))


ROW = Row(case, _call(50, 200, (40, 30)), integers=True)
