"""binary_cross_entropy_with_logits: every reduction, with weights that are broadcast."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Row, shapes


def _call(shape, weight, pos_weight, reduction):
    """The weights: their shapes, or None."""

    def given(rest):
        rest = list(rest)
        return [None if there is None else rest.pop(0) for there in (weight, pos_weight)]

    def run(x, t, *rest):
        weight, pos_weight = given(rest)
        return F.binary_cross_entropy_with_logits(
            x, t, weight, reduction=reduction, pos_weight=pos_weight
        )

    def reference(x, t, *rest):
        weight, pos_weight = (1.0 if w is None else w for w in given(rest))
        p = 1 / (1 + np.exp(-x))
        losses = -weight * (pos_weight * t * np.log(p) + (1 - t) * np.log(1 - p))
        return {"none": losses, "sum": losses.sum(), "mean": losses.mean() if losses.size else 0.0}[
            reduction
        ]

    inputs = [Float(shape, low=-4.0, high=4.0), Float(shape, low=0.0, high=1.0)]
    inputs += [Float(w, low=0.5, high=2.0) for w in (weight, pos_weight) if w is not None]
    return Call(inputs, run, reference)


def _weight(draw, shape):
    """The shape of a weight that stretches to this one, or None."""
    if draw(st.booleans()):
        return None
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in kept)


def case(draw):
    shape = draw(shapes(0, 3))
    # The mean over nothing is NaN and has a test of its own.
    reductions = ("none", "sum", "mean") if 0 not in shape else ("none", "sum")
    reduction = draw(st.sampled_from(reductions))
    return _call(shape, _weight(draw, shape), _weight(draw, shape), reduction)


ROW = Row(case, _call((150, 301), (301,), (150, 1), "mean"), integers=None)
