"""Arguments for the tests of errors."""

from __future__ import annotations

import tinytape as tt
from tinytape.nn import functional as F

X = tt.ones(2, 3)
W = tt.ones(2, 3, requires_grad=True)
D = tt.ones(2, 3, dtype=tt.float64)
B = tt.tensor([True, False])
I = tt.tensor([0, 1])  # noqa: E741 - the indices, beside X and W
ONES9 = (1,) * 9


def attention(q, k, v, **options):
    return F.scaled_dot_product_attention(tt.ones(*q), tt.ones(*k), tt.ones(*v), **options)
