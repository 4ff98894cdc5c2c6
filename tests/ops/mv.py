"""mv: the product of a matrix and a vector."""

import tinytape as tt

from . import SIDES, Call, Float, Row
from .matmul import product


def case(draw):
    m, k = draw(SIDES), draw(SIDES)
    return Call([Float((m, k)), Float((k,))], tt.mv, product)


ROW = Row(case, Call([Float((150, 301)), Float((301,))], tt.mv, product), integers=True)
