"""matmul: matrices, batches of them with broadcast leading axes, vectors."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import SIDES, Call, Float, Row, broadcast_pairs


def case(draw):
    m, k, n = draw(SIDES), draw(SIDES), draw(SIDES)
    lead_a, lead_b = draw(broadcast_pairs(2))
    a, b = (*lead_a, m, k), (*lead_b, k, n)
    if draw(st.integers(0, 3)) == 0:
        b = (k, n)
    if draw(st.integers(0, 5)) == 0:
        a = (k,)
    if draw(st.integers(0, 5)) == 0:
        b = (k,)
    return Call([Float(a), Float(b)], tt.matmul, np.matmul)


ROW = Row(case, Call([Float((6, 120, 130)), Float((6, 130, 140))], tt.matmul, np.matmul))
