"""layer_norm_backward: the gradient of layer_norm, or of rms_norm, at its input."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import SIDES, Call, Float, Row, shapes


def _call(lead, shape, affine, centred, eps):
    def run(x, dy, weight=None):
        attrs = (len(shape), int(centred))
        return apply(OPS["layer_norm_backward"], (x, weight, dy), attrs, (eps,))

    def reference(x, dy, weight=1.0):
        axes = tuple(range(-len(shape), 0))

        def mean(v):
            return v.mean(axes, keepdims=True)

        x = x - mean(x) if centred else x
        rstd = 1 / np.sqrt(mean(x**2) + eps)
        h, g = x * rstd, dy * weight
        return rstd * (g - (mean(g) if centred else 0.0) - h * mean(g * h))

    full = (*lead, *shape)
    return Call([Float(full), Float(full)] + [Float(shape)] * affine, run, reference)


def case(draw):
    shape = draw(st.lists(SIDES.filter(bool), min_size=1, max_size=2).map(tuple))
    affine, centred = draw(st.booleans()), draw(st.booleans())
    # Not less, which makes the derivatives of a constant row too steep to be differenced.
    eps = draw(st.sampled_from((0.1, 1.0)))
    return _call(draw(shapes(0, 2)), shape, affine, centred, eps)


ROW = Row(case, _call((400,), (130,), True, True, 1e-5))
