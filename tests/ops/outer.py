"""outer: each element of a vector with each of another."""

import numpy as np

import tinytape as tt

from . import SIDES, Call, Float, Row


def case(draw):
    m, n = draw(SIDES), draw(SIDES)
    return Call([Float((m,)), Float((n,))], tt.outer, np.outer)


ROW = Row(case, Call([Float((150,)), Float((301,))], tt.outer, np.outer), integers=True)
