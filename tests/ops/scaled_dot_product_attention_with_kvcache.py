"""scaled_dot_product_attention_with_kvcache: any lengths before and after."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Row
from .scaled_dot_product_attention import attention


def _call(sizes, capacity, held, scale=None):
    B, n, heads, width = sizes
    channels = heads * width

    def run(qkv, cache):
        cache = tt.tensor(cache.numpy())  # written in place
        return F.scaled_dot_product_attention_with_kvcache(qkv, cache, heads, held, scale)

    def heads_of(x):
        return x.reshape(B, x.shape[1], heads, width).swapaxes(1, 2)

    def reference(qkv, cache):
        cache = cache.copy()
        cache[:, held : held + n] = qkv[:, :, channels:]
        q = heads_of(qkv[:, :, :channels])
        k, v = (heads_of(x) for x in np.split(cache[:, : held + n], 2, axis=2))
        hidden = np.where(np.tri(n, held + n, held, dtype=bool), 0.0, -np.inf)
        y = attention(q, k, v, hidden, False, scale, 1.0)
        return y.swapaxes(1, 2).reshape(B, n, channels)

    return Call([Float((B, n, 3 * channels)), Float((B, capacity, 2 * channels))], run, reference)


def case(draw):
    least = 0 if draw(st.integers(0, 7)) == 0 else 1
    sizes = [draw(st.integers(least, most)) for most in (2, 4, 3, 4)]
    sizes[2] = max(sizes[2], 1)
    held = draw(st.sampled_from((0, 1, 3, 127, 130) if least and sizes[1] < 3 else (0, 1)))
    capacity = held + sizes[1] + draw(st.integers(0, 2))
    return _call(sizes, capacity, held, draw(st.sampled_from((None, 0.3))))


ROW = Row(case, _call((3, 40, 4, 24), 200, 150), differentiable=False)
