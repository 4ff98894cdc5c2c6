"""t: a matrix transposed."""

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape):
    return Call([Float(shape)], tt.t, lambda x: x.T)


def case(draw):
    return _call(draw(shapes(0, 2)))


ROW = Row(case, _call((150, 301)), integers=True)
