"""flatten: some axes as one."""

from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Row, shapes


def _call(shape, first, last):
    n = len(shape)

    def reference(x):
        end = last % n + 1
        size = 1
        for k in shape[first % n : end]:
            size *= k
        return x.reshape((*shape[: first % n], size, *shape[end:]))

    return Call([Float(shape)], lambda x: tt.flatten(x, first, last), reference)


def case(draw):
    shape = draw(shapes(1))
    first = draw(st.integers(0, len(shape) - 1))
    last = draw(st.integers(first, len(shape) - 1))
    return _call(shape, first, last - len(shape) if draw(st.booleans()) else last)


ROW = Row(case, _call((10, 15, 301), 0, 1), integers=True)
