"""scaled_dot_product_attention: causal or not, keys as many as queries or not, any leading axes."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Float, Row

LEADS = ((1, 2), (2, 1), (2, 2), (1, 1), (0, 2), (2, 0), (), (2,), (0,), (2, 1, 2))
"""Mostly the two of (batch, heads), which the kernel sees as they are."""


def _call(lead, sizes, is_causal, scale):
    queries, keys, width, out_width = sizes

    def run(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal, scale=scale)

    def reference(q, k, v):
        factor = (width**-0.5 if width else 1.0) if scale is None else scale
        scores = factor * (q @ np.swapaxes(k, -1, -2))
        if is_causal:
            scores = np.where(np.tri(queries, keys, dtype=bool), scores, -np.inf)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) @ v

    shapes = [(queries, width), (keys, width), (keys, out_width)]
    return Call([Float((*lead, *s)) for s in shapes], run, reference)


def case(draw):
    lead = draw(st.sampled_from(LEADS))
    queries = draw(st.integers(1, 5))
    keys = queries if draw(st.booleans()) else draw(st.integers(1, 5))
    width = draw(st.integers(0, 4))
    out_width = width if draw(st.booleans()) else draw(st.integers(0, 4))
    scale = draw(st.sampled_from((None, 0.3)))
    return _call(lead, (queries, keys, width, out_width), draw(st.booleans()), scale)


ROW = Row(case, _call((3, 4), (130, 130, 32, 24), True, None))
