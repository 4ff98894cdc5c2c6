"""bmm: the products of matrices, pair by pair."""

import tinytape as tt

from . import SIDES, Call, Float, Row
from .matmul import product


def case(draw):
    b, m, k, n = draw(SIDES), draw(SIDES), draw(SIDES), draw(SIDES)
    return Call([Float((b, m, k)), Float((b, k, n))], tt.bmm, product)


LARGE = Call([Float((6, 120, 130)), Float((6, 130, 140))], tt.bmm, product)
ROW = Row(case, LARGE, integers=True)
