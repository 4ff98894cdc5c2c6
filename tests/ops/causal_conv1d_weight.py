"""causal_conv1d_weight: the gradient of the taps of causal_conv1d."""

import numpy as np

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import SIDES, Call, Float, Row


def _call(batch, channels, steps, taps):
    def reference(x, g):
        w = np.zeros((channels, taps))
        for k in range(taps):
            away = taps - 1 - k
            for t in range(away, steps):
                w[:, k] += (x[:, :, t - away] * g[:, :, t]).sum(0)
        return w

    def run(x, g):
        return apply(OPS["causal_conv1d_weight"], (x, g), (taps,))

    return Call([Float((batch, channels, steps))] * 2, run, reference)


def case(draw):
    return _call(*(draw(SIDES) for _ in range(4)))


ROW = Row(case, _call(3, 40, 301, 4))
