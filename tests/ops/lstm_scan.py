"""lstm_scan: the linear recurrence of an LSTM's derivatives, forward and reverse."""

import numpy as np
from hypothesis import strategies as st

from tinytape._ffi import OPS
from tinytape.functional._apply import apply_many

from . import SIDES, Call, Float, Row


def _forward(s_h, s_c, k, r, f, w):
    h, c = np.zeros_like(s_h), np.zeros_like(s_c)
    for t in range(len(s_h)):
        into_i, into_f, into_g, into_o = np.split(
            k[t] * ((h[t - 1] if t else 0 * h[0]) @ w.T), 4, 1
        )
        c[t] = s_c[t] + f[t] * (c[t - 1] if t else 0) + into_i + into_f + into_g
        h[t] = s_h[t] + into_o + r[t] * c[t]
    return h, c


def _reverse(s_h, s_c, k, r, f, w):
    h, c = np.array(s_h), np.array(s_c)
    for t in reversed(range(len(s_h))):
        if t + 1 < len(s_h):
            h[t] += (k[t + 1] * np.concatenate([c[t + 1]] * 3 + [h[t + 1]], axis=1)) @ w
            c[t] += f[t + 1] * c[t + 1]
        c[t] += r[t] * h[t]
    return h, c


def _call(steps, n, hidden, reverse):
    def run(*given):
        return apply_many(OPS["lstm_scan"], given, (reverse,))

    state = Float((steps, n, hidden))
    gates, weight = Float((steps, n, 4 * hidden), -1, 1), Float((4 * hidden, hidden), -1, 1)
    inputs = [state, state, gates, state, state, weight]
    return Call(inputs, run, _reverse if reverse else _forward)


def case(draw):
    return _call(*(draw(SIDES) for _ in range(3)), draw(st.booleans()))


ROW = Row(case, _call(6, 70, 65, True))
