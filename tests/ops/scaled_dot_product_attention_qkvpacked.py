"""scaled_dot_product_attention_qkvpacked: causal or not, dropout, sizes on both
sides of the kernel's tiles."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Row
from .scaled_dot_product_attention import attention, keep_factors


def _call(sizes, is_causal, scale=None, dropout_p=0.0, seed=0):
    B, T, heads, width = sizes
    channels, weights = heads * width, (B, heads, T, T)

    def run(qkv):
        if dropout_p and qkv.dtype is tt.float32:
            # The types draw different numbers, and here one is held against the other.
            parts = qkv.reshape(B, T, 3, heads, width).unbind(2)
            q, k, v = (part.transpose(1, 2) for part in parts)
            ones = tt.tensor(np.broadcast_to(np.eye(T), weights), dtype=qkv.dtype)
            shares = F.scaled_dot_product_attention(q, k, ones, None, 0.0, is_causal, scale)
            y = shares * tt.tensor(keep_factors(weights, dropout_p, seed), dtype=qkv.dtype) @ v
            return y.transpose(1, 2).reshape(B, T, channels)
        return F.scaled_dot_product_attention_qkvpacked(
            qkv, heads, dropout_p, is_causal, scale, generator=tt.Generator(seed)
        )

    def reference(qkv):
        q, k, v = (
            part.reshape(B, T, heads, width).swapaxes(1, 2) for part in np.split(qkv, 3, axis=2)
        )
        keep = keep_factors(weights, dropout_p, seed)
        y = attention(q, k, v, 0.0, is_causal, scale, keep)
        return y.swapaxes(1, 2).reshape(B, T, channels)

    return Call([Float((B, T, 3 * channels))], run, reference)


def case(draw):
    sides = st.integers(1, 3)
    if draw(st.integers(0, 7)) == 0:
        sizes = (1, draw(st.sampled_from((31, 32, 33, 64, 130))), 1, draw(st.integers(1, 3)))
    else:
        least = 0 if draw(st.integers(0, 7)) == 0 else 1
        positions, width = (draw(st.integers(least, 5)) for _ in range(2))
        sizes = (draw(st.integers(least, 2)), positions, draw(sides), width)
    return _call(
        sizes,
        draw(st.booleans()),
        draw(st.sampled_from((None, 0.3))),
        draw(st.sampled_from((0.0, 0.0, 0.4, 1.0))),
        draw(st.integers(0, 99)),
    )


# Second derivatives of sums over many keys: what rounding leaves.
ROW = Row(case, _call((3, 130, 4, 24), True, dropout_p=0.2), float32=1e-4)
