"""cross_entropy: every reduction, with rows that are ignored."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Index, Row


def _call(rows, classes, ignored, reduction):
    def reference(x, target):
        shifted = x - x.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        loss = np.where(target == ignored, 0.0, -log_p[np.arange(len(x)), target])
        if reduction == "none":
            return loss
        return loss.sum() if reduction == "sum" else loss.sum() / (target != ignored).sum()

    def run(x, target):
        return F.cross_entropy(x, target, ignore_index=ignored, reduction=reduction)

    return Call([Float((rows, classes)), Index((rows,), classes)], run, reference)


def case(draw):
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    # The mean over nothing is NaN and has a test of its own.
    ignored = -100 if reduction == "mean" else draw(st.sampled_from((-100, 0, 1)))
    rows = draw(st.integers(1 if reduction == "mean" else 0, 6))
    return _call(rows, draw(st.integers(1, 5)), ignored, reduction)


ROW = Row(case, _call(700, 101, 3, "mean"))
