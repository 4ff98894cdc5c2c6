"""causal_conv1d: depthwise filters of few and of more taps than there are steps, either way."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply
from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row


def filtered(x, w):
    """y[..., t] = sum over k of w[:, k] x[..., t - K + 1 + k]."""
    y = np.zeros(x.shape)
    taps = w.shape[1]
    for k in range(taps):
        for t in range(x.shape[2]):
            if t - taps + 1 + k >= 0:
                y[:, :, t] += w[:, k] * x[:, :, t - taps + 1 + k]
    return y


def _call(batch, channels, steps, taps, bias, reverse):
    def run(x, w, *b):
        if reverse:  # the gradient of x, no function of its own
            return apply(OPS["causal_conv1d"], (x, w, b[0] if b else None), (1,))
        return F.causal_conv1d(x, w, *b)

    def reference(x, w, *b):
        y = filtered(x[:, :, ::-1], w)[:, :, ::-1] if reverse else filtered(x, w)
        return y + (b[0][:, None] if b else 0)

    inputs = [Float((batch, channels, steps)), Float((channels, taps))]
    return Call([*inputs, *[Float((channels,))] * bias], run, reference)


def case(draw):
    sizes = [draw(SIDES) for _ in range(4)]
    return _call(*sizes, draw(st.booleans()), draw(st.booleans()))


ROW = Row(case, _call(3, 40, 301, 4, True, False))
