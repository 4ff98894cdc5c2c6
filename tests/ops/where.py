"""where: a mask and two sides, broadcast."""

import numpy as np

import tinytape as tt

from . import Call, Float, Mask, Row, broadcast_pairs


def _call(mask, a, b):
    return Call([Mask(mask), Float(a), Float(b)], tt.where, np.where)


def case(draw):
    mask, a = draw(broadcast_pairs())
    return _call(mask, a, mask if 1 in a else a)


ROW = Row(case, _call((150, 301), (301,), (150, 301)), integers=True)
