"""mm: the product of two matrices."""

import tinytape as tt

from . import SIDES, Call, Float, Row
from .matmul import product


def case(draw):
    m, k, n = draw(SIDES), draw(SIDES), draw(SIDES)
    return Call([Float((m, k)), Float((k, n))], tt.mm, product)


ROW = Row(case, Call([Float((150, 200)), Float((200, 160))], tt.mm, product), integers=True)
