"""cross_entropy: every reduction, with rows that are ignored."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Index, Row


def _call(rows, classes, ignored, reduction):
    def some_count(target):
        """The mean over nothing is NaN and has a test of its own: the last row counts."""
        if reduction == "mean" and ignored == target[-1]:
            target = np.append(target[:-1], (ignored + 1) % classes)
        return target

    def reference(x, target):
        target = some_count(target)
        shifted = x - x.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        loss = np.where(target == ignored, 0.0, -log_p[np.arange(len(x)), target])
        if reduction == "none":
            return loss
        return loss.sum() if reduction == "sum" else loss.sum() / (target != ignored).sum()

    def run(x, target):
        given = target.numpy()
        wanted = some_count(given)
        target = target if wanted is given else tt.tensor(wanted)
        return F.cross_entropy(x, target, ignore_index=ignored, reduction=reduction)

    return Call([Float((rows, classes)), Index((rows,), classes)], run, reference)


def case(draw):
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    classes = draw(st.integers(1, 5))
    ignored = draw(st.sampled_from((-100, 0, 1))) if reduction != "mean" or classes > 1 else -100
    rows = draw(st.integers(1 if reduction == "mean" else 0, 6))
    return _call(rows, classes, ignored, reduction)


ROW = Row(case, _call(700, 101, 3, "mean"))
