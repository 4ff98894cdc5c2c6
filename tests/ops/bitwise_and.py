"""bitwise_and, of integers and of bools, broadcast."""

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Index, Mask, Row, broadcast_pairs


def bits(run, reference):
    def case(draw):
        a, b = draw(broadcast_pairs())
        if draw(st.booleans()):
            return Call([Mask(a), Mask(b)], run, reference)
        return Call([Index(a, 99), Index(b, 99)], run, reference)

    large = Call([Index((150, 301), 99), Index((301,), 99)], run, reference)
    return Row(case, large, differentiable=False)


ROW = bits(tt.bitwise_and, np.bitwise_and)
