"""matmul: matrices, batches of them with broadcast leading axes, vectors."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import SIDES, Call, Float, Row, broadcast_pairs


def product(a, b):
    """numpy's, which takes bool too: as in PyTorch, that is a type error."""
    if a.dtype == bool:
        raise TypeError("matmul of bool")
    return np.matmul(a, b)


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
    return Call([Float(a), Float(b)], tt.matmul, product)


LARGE = Call([Float((6, 120, 130)), Float((6, 130, 140))], tt.matmul, product)
ROW = Row(case, LARGE, integers=True)
