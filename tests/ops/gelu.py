"""gelu, exact and by tanh."""

import math

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Row, shapes

_erf = np.vectorize(math.erf, otypes=[float])


def _exact(x):
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _by_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _call(shape, approximate):
    reference = {"none": _exact, "tanh": _by_tanh}[approximate]
    return Call([Float(shape, -4.0, 4.0)], lambda x: F.gelu(x, approximate), reference)


def case(draw):
    return _call(draw(shapes()), draw(st.sampled_from(("none", "tanh"))))


ROW = Row(case, _call((150, 301), "tanh"))
