"""reshape: another shape of as many elements, one size perhaps -1."""

import math

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, target):
    return Call([Float(shape)], lambda x: tt.reshape(x, target), lambda x: np.reshape(x, target))


def case(draw):
    shape = draw(shapes())
    # The same sizes in another order, neighbours joined, ones put in.
    target = list(draw(st.permutations(shape))) if shape else []
    while len(target) > 1 and draw(st.booleans()):
        at = draw(st.integers(0, len(target) - 2))
        target[at : at + 2] = [target[at] * target[at + 1]]
    for _ in range(draw(st.integers(0, 2))):
        target.insert(draw(st.integers(0, len(target))), 1)
    if target and math.prod(shape) and draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return _call(shape, target)


ROW = Row(case, _call((150, 301), (301, 150)), integers=True)
