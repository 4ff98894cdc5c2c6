"""nll_loss: every reduction, rows that are ignored, weighted classes, more axes."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Index, Row
from .cross_entropy import WEIGHTS, as_weight, class_weights, index_reference, reduction_for, sizes


def _call(lead, classes, inner, weight, ignored, reduction):
    def reference(x, target):
        return index_reference(x, target, weight, ignored, reduction)

    def run(x, target):
        return F.nll_loss(
            x,
            target,
            as_weight(weight, x),
            ignore_index=ignored,
            reduction=reduction_for(target, ignored, reduction),
        )

    return Call([Float((*lead, classes, *inner)), Index((*lead, *inner), classes)], run, reference)


def case(draw):
    reduction = draw(st.sampled_from(("mean", "sum", "none")))
    lead, classes, inner = sizes(draw, reduction)
    ignored = draw(st.sampled_from((-100, 0, 1)))
    return _call(lead, classes, inner, class_weights(draw, classes), ignored, reduction)


ROW = Row(case, _call((700,), 101, (), WEIGHTS, 3, "mean"))
