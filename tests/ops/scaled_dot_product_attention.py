"""scaled_dot_product_attention: masks of both kinds, causal, dropout, any leading axes, sizes on
both sides of the kernel's tiles, and queries that may see no key at all."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Mask, Row

LEADS = ((1, 2), (2, 1), (2, 2), (1, 1), (0, 2), (2, 0), (), (2,), (0,), (2, 1, 2))
"""Mostly the two of (batch, heads), which the kernel sees as they are."""

MASKS = {"bool": Mask, "float": Float, "float with holes": Float}
"""The kinds of masks, with the inputs that they are; holes are -inf."""


def attention(q, k, v, mask, is_causal, scale, keep):
    """numpy's, of a mask that is added and the factors that dropout multiplies by."""
    queries, width, keys = *q.shape[-2:], k.shape[-2]
    scores = ((width**-0.5 if width else 1.0) if scale is None else scale) * (
        q @ np.swapaxes(k, -1, -2)
    )
    if is_causal:
        scores = np.where(np.tri(queries, keys, dtype=bool), scores, -np.inf)
    scores = scores + mask
    most = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(np.isinf(most), 0.0, most))
    total = e.sum(-1, keepdims=True)
    return (e / np.where(total == 0, 1.0, total) * keep) @ v


def keep_factors(shape, p, seed, dtype=tt.float64):
    """What dropout makes of ones: nothing is dropped anywhere else."""
    return F.dropout(tt.ones(shape, dtype=dtype), p, generator=tt.Generator(seed)).numpy()


def _call(lead, sizes, is_causal, scale, given=(None, ()), dropout_p=0.0, seed=0):
    queries, keys, width, out_width = sizes
    kind, mask_shape = given
    seen = np.random.default_rng(seed).random(mask_shape) < 0.6
    if mask_shape and mask_shape[0]:
        seen[-1] = False  # often all keys of a query, if not all of all
    holes = np.where(seen, 0.0, -np.inf) if kind == "float with holes" else 0.0

    def run(q, k, v, mask=None):
        if kind == "float with holes":
            mask = mask + tt.tensor(holes, dtype=q.dtype)
        if dropout_p and q.dtype is tt.float32:
            # The types draw different numbers, and here one is held against the other.
            ones = tt.tensor(np.broadcast_to(np.eye(keys), (*lead, keys, keys)), dtype=q.dtype)
            weights = F.scaled_dot_product_attention(q, k, ones, mask, 0.0, is_causal, scale)
            keep = keep_factors((*lead, queries, keys), dropout_p, seed)
            return weights * tt.tensor(keep, dtype=q.dtype) @ v
        generator = tt.Generator(seed)
        return F.scaled_dot_product_attention(
            q, k, v, mask, dropout_p, is_causal, scale, generator=generator
        )

    def reference(q, k, v, mask=0.0):
        keep = keep_factors((*lead, queries, keys), dropout_p, seed)
        added = np.where(mask, 0.0, -np.inf) if kind == "bool" else mask + holes
        return attention(q, k, v, added, is_causal, scale, keep)

    shapes = [(queries, width), (keys, width), (keys, out_width)]
    inputs = [Float((*lead, *s)) for s in shapes]
    if kind is not None:
        inputs.append(MASKS[kind](mask_shape))
    return Call(inputs, run, reference)


def case(draw):
    lead = draw(st.sampled_from(LEADS))
    sides = st.integers(1, 5)
    if draw(st.integers(0, 7)) == 0:
        lead, sides = lead[:1], st.sampled_from((63, 64, 65, 130, 3))
    elif draw(st.integers(0, 7)) == 0:
        sides = st.integers(0, 2)
    elif draw(st.integers(0, 2)) == 0:
        sides = st.sampled_from((5, 9, 17))  # a tile of few queries lies otherwise than one of more
    queries = draw(sides)
    keys = queries if draw(st.booleans()) else draw(sides)
    width = draw(st.integers(0, 4))
    out_width = width if draw(st.booleans()) else draw(st.integers(0, 4))
    kind = draw(st.sampled_from((None, None, *MASKS)))
    scores = (*lead, queries, keys)
    kept = tuple(n if draw(st.integers(0, 2)) else 1 for n in scores)
    given = (kind, kept[draw(st.integers(0, len(kept))) :])
    return _call(
        lead,
        (queries, keys, width, out_width),
        kind is None and draw(st.booleans()),
        draw(st.sampled_from((None, 0.3))),
        given,
        draw(st.sampled_from((0.0, 0.0, 0.4, 1.0))),
        draw(st.integers(0, 99)),
    )


LARGE = ("float with holes", (3, 1, 130, 130))
# Of equal keys the second derivative is zero: what rounding leaves of a sum over all of them.
ROW = Row(case, _call((3, 4), (130, 130, 32, 24), False, None, LARGE, 0.2), float32=1e-4)
