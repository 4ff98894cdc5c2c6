"""addmm: beta c + alpha a b, c broadcast to the product."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import SIDES, Call, Float, Row, of_numbers


def call(stretched, m, k, n, beta, alpha):
    def reference(c, a, b):
        scales = [np.asarray(number).astype(a.dtype) for number in (beta, alpha)]
        return scales[0] * c + scales[1] * (a @ b)

    inputs = [Float(stretched), Float((m, k)), Float((k, n))]
    return Call(inputs, lambda *x: tt.addmm(*x, beta=beta, alpha=alpha), of_numbers(reference))


def case(draw):
    m, k, n = draw(SIDES), draw(SIDES), draw(SIDES)
    stretched = draw(st.sampled_from([(m, n), (1, n), (m, 1), (n,), (1,), ()]))
    return call(stretched, m, k, n, draw(st.integers(0, 3)), draw(st.integers(0, 3)))


ROW = Row(case, call((301,), 150, 40, 301, 2, 3), integers=True)
