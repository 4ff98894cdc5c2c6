"""lstm: a layer over a sequence, with and without biases."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply_many
from tinytape.nn import functional as F

from . import SIDES, Call, Float, Row


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_reference(x, h, c, w_ih, w_hh, *biases):
    """PyTorch's equations, step by step: h (T, N, H) and c (T, N, H)."""
    shape = (len(x), *h.shape)
    all_h, all_c = np.zeros(shape), np.zeros(shape)
    for t, x_t in enumerate(x):
        i, f, g, o = np.split(x_t @ w_ih.T + h @ w_hh.T + sum(biases), 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        all_h[t], all_c[t] = h, c
    return all_h, all_c


def inputs(steps, n, width, hidden, biases, batch_first=False):
    """x, h0, c0, w_ih, w_hh and as many biases."""
    state = Float((n, hidden))
    weights = [Float((4 * hidden, width), -1, 1), Float((4 * hidden, hidden), -1, 1)]
    lead = (n, steps) if batch_first else (steps, n)
    return [Float((*lead, width)), state, state, *weights, *[Float((4 * hidden,))] * biases]


def _call(steps, n, width, hidden, which, states, batch_first=False):
    """which: whether there are b_ih and b_hh; states: whether y and the last h and c come out, as
    from the public function, or all h and c, as from the operation."""

    def run(*given):
        rest = list(given[5:])
        biases = [rest.pop(0) if there else None for there in which]
        if states:
            output, (h, c) = F.lstm(given[0], given[1:3], *given[3:5], *biases, batch_first)
            return output, h, c
        return apply_many(OPS["lstm"], (*given[:5], *biases), (int(batch_first),))

    def turned(x):
        return x.swapaxes(0, 1) if batch_first else x

    def reference(x, *given):
        h, c = lstm_reference(turned(x), *given)
        return (turned(h), h[-1], c[-1]) if states else (turned(h), turned(c))

    return Call(inputs(steps, n, width, hidden, sum(which), batch_first), run, reference)


def case(draw):
    which = draw(st.sampled_from(((True, True), (False, False), (True, False), (False, True))))
    steps, *sizes = (draw(SIDES) for _ in range(4))
    states = steps > 0 and draw(st.booleans())
    return _call(steps, *sizes, which, states, draw(st.booleans()))


ROW = Row(case, _call(5, 70, 40, 65, (True, True), False, True))
