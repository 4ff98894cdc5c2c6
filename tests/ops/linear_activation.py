"""linear_activation: a(x W^T + b) for each activation, with and without b."""

import math

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row, shapes

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "gelu": lambda z: 0.5 * z * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}


def _call(inputs, activation):
    def run(x, w, b=None):
        return F.linear_activation(x, w, b, activation=activation)

    def reference(x, w, b=0.0):
        return ACTIVATIONS[activation](x @ w.T + b)

    return Call(inputs, run, reference)


def _unit(shape):
    """Small enough that few activations are flat: there the slope is lost to float32's rounding."""
    return Float(shape, low=-1.0, high=1.0)


def case(draw):
    n_in, n_out = draw(SIDES), draw(SIDES)
    inputs = [_unit((*draw(shapes(0, 3)), n_in)), _unit((n_out, n_in))]
    if draw(st.booleans()):
        inputs.append(_unit((n_out,)))
    return _call(inputs, draw(st.sampled_from(sorted(ACTIVATIONS))))


ROW = Row(case, _call([Float((20, 64, 192)), Float((384, 192)), Float((384,))], "gelu"))
