"""layer_norm over the last axes, with and without weight and bias."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row, shapes


def _call(lead, shape, affine, eps):
    """affine: which of weight and bias there are."""

    def given(rest):
        rest = list(rest)
        return [rest.pop(0) if there else None for there in affine]

    def run(x, *rest):
        return F.layer_norm(x, shape, *given(rest), eps=eps)

    def reference(x, *rest):
        axes = tuple(range(-len(shape), 0))
        centred = x - x.mean(axes, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps)
        weight, bias = given(rest)
        return y * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)

    inputs = [Float((*lead, *shape))] + [Float(shape)] * sum(affine)
    return Call(inputs, run, reference)


def case(draw):
    shape = draw(st.lists(SIDES.filter(bool), min_size=1, max_size=2).map(tuple))
    affine = draw(st.sampled_from(((True, True), (True, False), (False, True), (False, False))))
    # Not the default, which makes the derivatives of a constant row too steep to be differenced.
    return _call(draw(shapes(0, 2)), shape, affine, draw(st.sampled_from((0.1, 1.0))))


ROW = Row(case, _call((400,), (130,), (True, True), 1e-5))
