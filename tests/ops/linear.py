"""linear: x W^T + b, with and without b."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row, shapes


def _reference(x, w, b=0.0):
    return x @ w.T + b


def case(draw):
    n_in, n_out = draw(SIDES), draw(SIDES)
    inputs = [Float((*draw(shapes(0, 3)), n_in)), Float((n_out, n_in))]
    if draw(st.booleans()):
        inputs.append(Float((n_out,)))
    return Call(inputs, F.linear, _reference)


ROW = Row(
    case, Call([Float((20, 64, 192)), Float((384, 192)), Float((384,))], F.linear, _reference)
)
