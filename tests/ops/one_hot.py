"""one_hot: int64, and no gradient to ask for."""

import numpy as np
from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import Call, Index, Row, shapes


def _call(shape, classes):
    return Call(
        [Index(shape, classes)],
        lambda index: F.one_hot(index, classes),
        lambda index: np.eye(classes, dtype=np.int64)[index],
    )


ROW = Row(lambda draw: _call(draw(shapes(0, 3)), draw(st.integers(1, 5))), _call((150, 301), 7))
