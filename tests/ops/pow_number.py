"""pow_number: the powers that have loops of their own, and others."""

from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply

from . import Call, Float, Row, shapes

POWERS = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 7.3)


def _call(shape, p):
    return Call(
        [Float(shape, low=0.4)],
        lambda x: apply(OPS["pow_number"], (x,), (), (p,)),
        lambda x: x**p,
    )


ROW = Row(
    lambda draw: _call(draw(shapes()), draw(st.sampled_from(POWERS))),
    _call((150, 301), 1.7),
    integers=None,
)
