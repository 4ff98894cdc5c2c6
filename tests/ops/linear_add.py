"""linear_add: r + x W^T + b, with and without b."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row, shapes


def _call(inputs):
    return Call(inputs, F.linear_add, lambda r, x, w, b=0.0: r + (x @ w.T + b))


def case(draw):
    lead, n_in, n_out = draw(shapes(0, 3)), draw(SIDES), draw(SIDES)
    inputs = [Float((*lead, n_out)), Float((*lead, n_in)), Float((n_out, n_in))]
    if draw(st.booleans()):
        inputs.append(Float((n_out,)))
    return _call(inputs)


ROW = Row(
    case, _call([Float((20, 64, 384)), Float((20, 64, 192)), Float((384, 192)), Float((384,))])
)
