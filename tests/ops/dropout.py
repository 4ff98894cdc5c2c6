"""dropout: the mask is a function of (seed, stream, offset), so numpy can draw the same one."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Row, shapes


def _call(shape, p, seed):
    def dropped(x):
        generator = tt.Generator(seed, stream=7)
        generator.offset = seed
        return F.dropout(x, p, generator=generator)

    def mask(n, dtype=tt.float64):
        return dropped(tt.ones(n, dtype=dtype)).numpy().astype(np.float64)

    def run(x):
        y = dropped(x)
        if x.dtype is tt.float64:
            return y
        # float32 draws different numbers, and the table is about one mask: put right by what is
        # missing, of which nothing is left where the kernel keeps to its own mask.
        difference = mask(x.numel()) - mask(x.numel(), x.dtype)
        return y + x * tt.tensor(difference.reshape(x.shape), dtype=x.dtype)

    return Call([Float(shape)], run, lambda x: x * mask(x.size).reshape(x.shape))


def case(draw):
    return _call(draw(shapes()), draw(st.sampled_from((0.1, 0.5, 1.0))), draw(st.integers(0, 99)))


ROW = Row(case, _call((150, 301), 0.3, 5))
