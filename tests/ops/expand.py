"""expand: sizes of 1 stretched, new axes in front."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, target):
    # Weighted, so that the gradients of the copies of an element are not all the same.
    weight = np.arange(1.0, 1.0 + int(np.prod(target))).reshape(target) / 8
    kept = target[len(target) - len(shape) :]
    sizes = [*target[: -len(shape) or None]]
    sizes += [-1 if n == m else m for n, m in zip(shape, kept, strict=True)] if shape else []
    return Call(
        [Float(shape)],
        lambda x: tt.expand(x, sizes) * tt.tensor(weight, dtype=x.dtype),
        lambda x: np.broadcast_to(x, target) * weight.astype(x.dtype),
    )


def case(draw):
    target = draw(shapes())
    kept = target[draw(st.integers(0, len(target))) :]
    return _call(tuple(1 if draw(st.booleans()) else n for n in kept), target)


ROW = Row(case, _call((150, 1), (2, 150, 301)), integers=True)
