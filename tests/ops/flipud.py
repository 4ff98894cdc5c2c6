"""flipud: the first axis in reverse order."""

import numpy as np

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape):
    return Call([Float(shape)], tt.flipud, np.flipud)


def case(draw):
    return _call(draw(shapes(1)))


ROW = Row(case, _call((150, 301)), integers=True)
