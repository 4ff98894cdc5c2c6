"""Recurrent layers: long short-term memory.

>>> from tinytape.nn import functional as F
>>> x, h, c = tt.ones(1, 3), tt.zeros(1, 2), tt.zeros(1, 2)
>>> h, c = F.lstm_cell(x, (h, c), tt.zeros(8, 3), tt.zeros(8, 2))
>>> h.tolist()
[[0.0, 0.0]]
"""

from __future__ import annotations

from typing import Any

from tinytape.errors import ArgumentError, ShapeError
from tinytape.functional._apply import check_tensor, run_many
from tinytape.nn.observers import notify, notify_recurrent, observers
from tinytape.tensor import Tensor

__all__ = ["lstm", "lstm_cell"]


def _state(name: str, hx: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise ArgumentError(f"{name}: expected hx to be (h, c), got {type(hx).__name__}")
    for state in hx:
        check_tensor(name, state)
    return hx[0], hx[1]


def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    batch_first: bool = False,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One layer of long short-term memory over a sequence, as one operation of the tape.

    With the gates i, f, g, o = x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh side by side:
    c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g) and h_t = sigmoid(o) tanh(c_t) (Hochreiter and
    Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000). PyTorch has no public function for this;
    ``nn.LSTM`` is the layer.

    Args:
        input: x (T, N, I), float32 or float64.
        hx: (h_0, c_0), both (N, H).
        w_ih: (4H, I).
        w_hh: (4H, H).
        b_ih: (4H,).
        b_hh: (4H,).
        batch_first: whether input and output are (N, T, ...) instead of (T, N, ...).

    Returns:
        output (T, N, H), all h_t; and (h_n, c_n), both (N, H): the state after the last step.

    Raises:
        ShapeError: where the shapes do not fit.
        DTypeError: where the dtypes differ.
        ArgumentError: for an hx that is no pair.
    """
    h, c = _state("lstm", hx)
    for x in (input, w_ih, w_hh):
        check_tensor("lstm", x)
    given = (input, h, c, w_ih, w_hh, b_ih, b_hh)
    output, cells = run_many["lstm"](given, batch_first=bool(batch_first))
    if observers:
        notify(w_ih, input)
        notify_recurrent(w_hh, h, output, batch_first)
    if output.shape[1 if batch_first else 0] > 0:
        h, c = (all[:, -1] if batch_first else all[-1] for all in (output, cells))
    return output, (h, c)


def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`lstm`.

    As ``torch.lstm_cell``. All of one dtype, float32 or float64.

    Args:
        input: (N, I), or (I,) for a single sequence.
        hx: (h, c), both (N, H), or (H,).
        w_ih: (4H, I).
        w_hh: (4H, H).
        b_ih: (4H,).
        b_hh: (4H,).

    Returns:
        The next (h, c), of the shapes of hx.

    Raises:
        ShapeError: where the shapes do not fit.
        DTypeError: where the dtypes differ.
        ArgumentError: for an hx that is no pair.
    """
    h, c = _state("lstm_cell", hx)
    for x in (input, w_ih, w_hh, *(b for b in (b_ih, b_hh) if b is not None)):
        check_tensor("lstm_cell", x)
    lead, state = input.shape[:-1], h.shape
    wide = (4 * state[-1],) if state else ()
    fits = (
        input.ndim in (1, 2)
        and state[:-1] == lead
        and len(state) == input.ndim
        and c.shape == state
        and w_ih.shape == (*wide, input.shape[-1])
        and w_hh.shape == (*wide, state[-1])
        and all(b is None or b.shape == wide for b in (b_ih, b_hh))
    )
    if not fits:
        given = [None if x is None else x.shape for x in (input, h, c, w_ih, w_hh, b_ih, b_hh)]
        raise ShapeError(
            "lstm_cell: expected input (N, I) or (I), h and c (N, H) or (H), w_ih (4H, I), "
            f"w_hh (4H, H), b_ih and b_hh (4H), got {', '.join(map(str, given))}"
        )
    rows = (1, lead[0] if lead else 1)
    inputs = (
        input.reshape(*rows, input.shape[-1]),
        h.reshape(rows[1], state[-1]),
        c.reshape(rows[1], state[-1]),
    )
    h_next, c_next = run_many["lstm"]((*inputs, w_ih, w_hh, b_ih, b_hh), batch_first=False)
    if observers:
        notify(w_ih, input)
        notify(w_hh, h)
    return h_next.reshape(state), c_next.reshape(state)
