"""cross_entropy: every reduction, rows that are ignored, smoothed labels, weighted classes.

The case with probabilities, and inputs of more axes, are composed in Python: they are drawn too.
"""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Index, Row


def log_softmax(x, axis):
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def class_weights(draw, classes):
    """Weights from 0.5 to 2, or none."""
    if draw(st.booleans()):
        return None
    return np.random.default_rng(draw(st.integers(0, 9))).uniform(0.5, 2.0, classes)


def as_weight(weight, like):
    return None if weight is None else tt.tensor(weight, dtype=like.dtype)


def reduction_for(target, ignored, reduction):
    """The mean over nothing is NaN and has a test of its own: then the sum."""
    counts = np.any((target if isinstance(target, np.ndarray) else target.numpy()) != ignored)
    return reduction if counts or reduction != "mean" else "sum"


def index_reference(log_p, target, weight, ignored, reduction, smoothing=0.0):
    """Written from the definition, target by target: log_p (N, C, ...), target (N, ...)."""
    classes = log_p.shape[1] if log_p.ndim > 1 else log_p.shape[0]
    w = np.ones(classes) if weight is None else weight
    losses, total = np.zeros(target.shape), 0.0
    for at in np.ndindex(target.shape):
        t = target[at]
        if t == ignored:
            continue
        row = log_p[(at[0], slice(None), *at[1:])] if log_p.ndim > 1 else log_p
        smooth = sum(-w[k] * row[k] for k in range(classes)) / classes
        losses[at] = (1 - smoothing) * -w[t] * row[t] + smoothing * smooth
        total += w[t]
    if reduction == "none":
        return losses
    return losses.sum() / (total if reduction_for(target, ignored, reduction) == "mean" else 1.0)


def _call(lead, classes, inner, weight, ignored, reduction, smoothing):
    def reference(x, target):
        log_p = log_softmax(x, len(lead))
        return index_reference(log_p, target, weight, ignored, reduction, smoothing)

    def run(x, target):
        return F.cross_entropy(
            x,
            target,
            as_weight(weight, x),
            ignore_index=ignored,
            reduction=reduction_for(target, ignored, reduction),
            label_smoothing=smoothing,
        )

    return Call([Float((*lead, classes, *inner)), Index((*lead, *inner), classes)], run, reference)


def _with_probabilities(lead, classes, inner, weight, reduction, smoothing):
    axis = len(lead)

    def reference(x, target):
        share = target * (1 - smoothing) + smoothing / classes
        w = np.ones(classes) if weight is None else weight
        losses = -np.moveaxis(log_softmax(x, axis) * share, axis, -1) @ w
        if reduction == "none":
            return losses
        return losses.sum() if reduction == "sum" else losses.mean()

    def run(x, target):
        return F.cross_entropy(
            x, target, as_weight(weight, x), reduction=reduction, label_smoothing=smoothing
        )

    shape = (*lead, classes, *inner)
    return Call([Float(shape), Float(shape, low=0.0, high=1.0)], run, reference)


def sizes(draw, reduction):
    """The axes before the classes, how many these are, the axes behind."""
    least = 1 if reduction == "mean" else 0
    if draw(st.integers(0, 5)) == 0:
        return (), draw(st.integers(1, 5)), ()
    inner = draw(st.lists(st.integers(max(1, least), 3), max_size=2)) if draw(st.booleans()) else []
    return (draw(st.integers(least, 6)),), draw(st.integers(1, 5)), tuple(inner)


def case(draw):
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    lead, classes, inner = sizes(draw, reduction)
    weight = class_weights(draw, classes)
    smoothing = draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    if draw(st.integers(0, 3)) == 0:
        return _with_probabilities(lead, classes, inner, weight, reduction, smoothing)
    ignored = draw(st.sampled_from((-100, 0, 1)))
    return _call(lead, classes, inner, weight, ignored, reduction, smoothing)


WEIGHTS = np.random.default_rng(0).uniform(0.5, 2.0, 101)
"""Of the large calls."""

ROW = Row(case, _call((700,), 101, (), WEIGHTS, 3, "mean", 0.1))
