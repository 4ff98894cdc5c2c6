"""dot: the product of two vectors."""

import tinytape as tt

from . import SIDES, Call, Float, Row
from .matmul import product


def case(draw):
    k = draw(SIDES)
    return Call([Float((k,)), Float((k,))], tt.dot, product)


ROW = Row(case, Call([Float((40000,)), Float((40000,))], tt.dot, product), integers=True)
