"""var: over one axis, several, all, with any correction that leaves degrees of freedom."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axes_within, shapes, without_nothing


def spread(ours, numpys, float32=1e-5):
    """The row of var or std."""

    def call(shape, dim, keepdim, correction, spelling="correction"):
        if spelling == "correction":
            options = {} if correction == 1 else {"correction": correction}
        else:
            options = {"unbiased": bool(correction)}
        return Call(
            [Float(shape, distinct=True)],
            lambda x: ours(x, dim, keepdim=keepdim, **options),
            lambda x: numpys(x, dim if x.ndim else None, ddof=correction, keepdims=keepdim),
        )

    def case(draw):
        shape = draw(shapes())
        dim = axes_within(draw, shape)
        shape = without_nothing(shape, dim)
        n = np.zeros(shape).size // max(np.zeros(shape).sum(dim).size, 1)
        correction = draw(st.sampled_from([c for c in (0, 1, 1, 0.5, 2) if c < n] or [0]))
        spelling = "unbiased" if correction in (0, 1) and draw(st.booleans()) else "correction"
        return call(shape, dim, draw(st.booleans()), correction, spelling)

    return Row(case, call((40, 50, 60), (0, 2), False, 1), float32=float32)


ROW = spread(tt.var, np.var)
