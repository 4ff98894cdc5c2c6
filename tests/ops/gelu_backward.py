"""gelu_backward: dy times the slope of gelu, exact and by tanh; the gradient of gelu."""

import math

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import Call, Float, Row, shapes

_erf = np.vectorize(math.erf, otypes=[float])


def _exact(dy, x):
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return dy * (0.5 * (1 + _erf(x / math.sqrt(2))) + x * density)


def _by_tanh(dy, x):
    scale = math.sqrt(2 / math.pi)
    t = np.tanh(scale * (x + 0.044715 * x**3))
    return dy * 0.5 * (1 + t + x * (1 - t * t) * scale * (1 + 3 * 0.044715 * x * x))


def _call(shape, by_tanh):
    def run(dy, x):
        return apply(OPS["gelu_backward"], (dy, x), (int(by_tanh),))

    return Call([Float(shape), Float(shape, -4.0, 4.0)], run, _by_tanh if by_tanh else _exact)


def case(draw):
    return _call(draw(shapes()), draw(st.booleans()))


ROW = Row(case, _call((150, 301), True))
