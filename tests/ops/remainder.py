"""remainder, broadcast, with a quotient between whole numbers; both signs of both."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, broadcast_pairs


def division(run, reference, differentiable):
    """The quotients are from 2.3 to 2.9, and their negatives."""

    def call(a, b, sign_a, sign_b):
        return Call(
            [Float(a, low=5.0, high=5.4), Float(b, low=1.9, high=2.1)],
            lambda x, y: run(x * sign_a, y * sign_b),
            lambda x, y: reference(x * sign_a, y * sign_b),
        )

    def case(draw):
        signs = st.sampled_from((-1.0, 1.0))
        return call(*draw(broadcast_pairs()), draw(signs), draw(signs))

    large = call((150, 301), (301,), 1.0, -1.0)
    return Row(case, large, differentiable, integers=None)


ROW = division(tt.remainder, np.remainder, differentiable=True)
