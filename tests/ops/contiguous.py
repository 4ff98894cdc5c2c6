"""contiguous: a copy in row-major order of what is not in it already."""

import numpy as np

import tinytape as tt

from . import Call, Float, Row, shapes


def _run(x):
    return tt.contiguous(x.permute(tuple(reversed(range(x.ndim)))))


def case(draw):
    return Call([Float(draw(shapes()))], _run, np.transpose)


ROW = Row(case, Call([Float((150, 301))], _run, np.transpose), integers=True)
