"""dropout: the mask is a function of (seed, stream, offset), so numpy can draw the same one."""

from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F

from . import Call, Float, Row, shapes


def _call(shape, p, seed):
    def mask(n):
        generator = tt.Generator(seed, stream=7)
        generator.offset = seed
        ones = F.dropout(tt.ones(n, dtype=tt.float64), p, generator=generator)
        return ones.numpy()

    def run(x):
        # float32 and float64 draw different numbers: the table is about one mask.
        generator = tt.Generator(seed, stream=7)
        generator.offset = seed
        if x.dtype is tt.float64:
            return F.dropout(x, p, generator=generator)
        return x * tt.tensor(mask(x.numel()).reshape(x.shape), dtype=x.dtype)

    return Call([Float(shape)], run, lambda x: x * mask(x.size).reshape(x.shape))


def case(draw):
    return _call(draw(shapes()), draw(st.sampled_from((0.1, 0.5, 1.0))), draw(st.integers(0, 99)))


ROW = Row(case, _call((150, 301), 0.3, 5))
