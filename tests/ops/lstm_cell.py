"""lstm_cell: one step, of a batch and of a single sequence."""

from hypothesis import strategies as st

from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row
from .lstm import inputs, lstm_reference


def _call(n, width, hidden, biases):
    """n: how many sequences; None where there is no axis for them."""

    def run(x, h, c, *weights):
        return F.lstm_cell(x, (h, c), *weights)

    def reference(x, h, c, *weights):
        rows = (1 if n is None else n, hidden)
        all_h, all_c = lstm_reference(
            x.reshape(1, rows[0], width), h.reshape(rows), c.reshape(rows), *weights
        )
        return all_h.reshape(h.shape), all_c.reshape(c.shape)

    _, _, _, *weights = inputs(1, 1, width, hidden, biases)
    lead = () if n is None else (n,)
    return Call(
        [Float((*lead, width)), Float((*lead, hidden)), Float((*lead, hidden)), *weights],
        run,
        reference,
    )


def case(draw):
    n = draw(st.one_of(st.none(), SIDES))
    return _call(n, draw(SIDES), draw(SIDES), draw(st.integers(0, 2)))


ROW = Row(case, _call(70, 40, 65, 2))
