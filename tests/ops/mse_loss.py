"""mse_loss: every reduction, broadcast, and weighted."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Row, broadcast_pairs, shapes


def _call(a, b, weighted, reduction):
    def run(x, y, weight=None):
        return F.mse_loss(x, y, reduction=reduction, weight=weight)

    def reference(x, y, weight=None):
        losses = (x - y) ** 2 * (1.0 if weight is None else weight)
        if reduction == "none":
            return losses
        if reduction == "sum":
            return losses.sum()
        return losses.mean() if weight is None else losses.sum() / weight.sum()

    return Call([Float(a), Float(b)] + [Float(a, low=0.5, high=2.0)] * weighted, run, reference)


def case(draw):
    weighted = draw(st.booleans())
    a, b = (draw(shapes(0, 4)),) * 2 if weighted else draw(broadcast_pairs())
    # The mean over nothing is NaN and has a test of its own.
    reductions = ("none", "sum", "mean") if 0 not in (*a, *b) else ("none", "sum")
    return _call(a, b, weighted, draw(st.sampled_from(reductions)))


ROW = Row(case, _call((150, 301), (301,), False, "mean"))
