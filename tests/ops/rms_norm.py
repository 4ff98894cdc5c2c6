"""rms_norm over the last axes, with and without weight; and the default eps."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row, shapes


def _call(lead, shape, affine, eps):
    def run(x, weight=None):
        return F.rms_norm(x, shape, weight, eps)

    def reference(x, weight=1.0):
        axes = tuple(range(-len(shape), 0))
        return x / np.sqrt((x**2).mean(axes, keepdims=True) + eps) * weight

    return Call([Float((*lead, *shape))] + [Float(shape)] * affine, run, reference)


def case(draw):
    shape = draw(st.lists(SIDES.filter(bool), min_size=1, max_size=2).map(tuple))
    # Not the default, which makes the derivatives at zero too steep to be differenced.
    return _call(draw(shapes(0, 2)), shape, draw(st.booleans()), draw(st.sampled_from((0.1, 1.0))))


ROW = Row(case, _call((400,), (130,), True, 1e-5))
