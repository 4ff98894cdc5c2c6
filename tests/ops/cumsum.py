"""cumsum: along any axis."""

import numpy as np

import tinytape as tt

from . import Call, Float, Row, axis_within, shapes


def _call(shape, dim):
    def reference(x):
        return np.cumsum(x, dim) if x.ndim else x

    return Call([Float(shape)], lambda x: tt.cumsum(x, dim), reference)


def case(draw):
    shape = draw(shapes())
    return _call(shape, axis_within(draw, shape))


ROW = Row(case, _call((40, 50, 60), 1), integers="int64")
