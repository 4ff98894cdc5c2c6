"""norm: of any order, over one axis, several, all."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, axes_within, shapes, without_nothing

INF = float("inf")
ORDERS = (2, 2.0, "fro", 1, 0, INF, -INF, 3, 2.5, 1.5, 0.5, -1, -2)


def _norm(x, p, dim, keepdim):
    size = np.abs(x)
    if p == INF:
        return size.max(dim, keepdims=keepdim)
    if p == -INF:
        return size.min(dim, keepdims=keepdim)
    if p == 0:
        return (size != 0).sum(dim, keepdims=keepdim).astype(x.dtype)
    p = 2 if p == "fro" else p
    return (size**p).sum(dim, keepdims=keepdim) ** (1 / p)


def _call(shape, p, dim, keepdim, **domain):
    return Call(
        [Float(shape, **domain)],
        lambda x: tt.norm(x, p, dim, keepdim),
        lambda x: _norm(x, p, dim if x.ndim else None, keepdim),
    )


def case(draw):
    shape = draw(shapes())
    dim = axes_within(draw, shape)
    shape = without_nothing(shape, dim)
    p = draw(st.sampled_from(ORDERS))
    domain = {"gap": 0.3}
    if p in (INF, -INF):
        domain = {"distinct": True, "low": 0.3, "high": 3.0}
        if draw(st.booleans()):
            domain |= {"low": -3.0, "high": -0.3}
    return _call(shape, p, dim, draw(st.booleans()), **domain)


ROW = Row(case, _call((40, 50, 60), 2, (0, 2), False))
