"""The held-out loss: every target of the split once, in order, without dropout.

>>> import numpy as np
>>> from tinytape.models.spec import held_out_loss, perplexity
>>> model = tt.models.create("tiny", vocab_size=5)
>>> loss = held_out_loss(model, np.arange(40) % 5, context=8)
>>> 1 < perplexity(loss) < 10
True
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...autograd import no_grad
from ...creation import tensor
from ...data import held_out_batches
from ...nn import Module
from ...nn import functional as F
from ...tensor import Tensor

# Rows side by side in which a state is carried. An LSTM's has begun after some hundred characters
# of the many thousands in a row; a memory with a long time constant stays behind that of training.
EVALUATION_ROWS = 16
IGNORED = -100  # the target of a place behind the end
Read = Callable[[Tensor, np.ndarray | None], Tensor]


def perplexity(loss: float) -> float:
    """exp of a loss in nats per character; a finite number for any finite loss."""
    return math.exp(min(loss, 700.0))


def held_out_loss(
    model: Module,
    ids: np.ndarray,
    context: int,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[float], None] = lambda share: None,
) -> float | None:
    """Mean cross-entropy in nats over ``ids``, or None when ``should_stop`` returned True.

    ``report`` is called after each batch with the fraction that is done.

    Windows of ``context`` ids that do not overlap; the chunks of a forward pass have a fixed size
    and the losses are summed in float64 in text order, so the result has the same bits for every
    batch size and thread count.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        with no_grad():
            for x, y in held_out_batches(ids, context):
                if should_stop():
                    return None
                logits = model(tensor(x))
                losses = F.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]), tensor(y.reshape(-1)), reduction="none"
                )
                total += float(losses.numpy().sum(dtype=np.float64))
                count += y.size
                report(count / (len(ids) - 1))
    finally:
        model.train(was_training)
    return total / count


def stream_loss(
    model: Module,
    ids: np.ndarray,
    context: int,
    starts: np.ndarray | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[float], None] = lambda share: None,
    read: Read | None = None,
) -> float | None:
    """Mean cross-entropy in nats over ``ids``, read in a few rows that carry their state.

    Each target counts once. The rows begin without a state, at equal distances in the text, and the
    last one may be shorter. None when ``should_stop`` returned True meanwhile; ``report`` is called
    after each batch with the fraction that is done.

    Args:
        model: whose ``new_cache`` holds its state.
        starts: positions in ``ids`` where documents begin, and with them a new state.
        read: the logits of ids (B, T), where those of the batches before have been read; the
            second argument marks the ids with which a document begins (B, T), bool, or is None.
    """
    places = len(ids) - 1
    length = -(-places // EVALUATION_ROWS)
    rows = -(-places // length)
    at = np.arange(rows)[:, None] * length + np.arange(length)
    there = at < places
    at = np.where(there, at, 0)
    x = ids[at].astype(np.int64)
    y = np.where(there, ids[at + 1].astype(np.int64), IGNORED)
    begins = None
    if starts is not None:
        marks = np.zeros(places, dtype=bool)
        marks[starts[starts < places]] = True
        begins = marks[at] & there
    read = read or _reader(model, rows)
    was_training = model.training
    model.eval()
    total = 0.0
    try:
        with no_grad():
            for first in range(0, length, context):
                if should_stop():
                    return None
                part = slice(first, first + context)
                boundaries = None if begins is None else begins[:, part]
                logits = read(tensor(x[:, part]), boundaries)
                losses = F.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]),
                    tensor(y[:, part].reshape(-1)),
                    reduction="none",
                    ignore_index=IGNORED,
                )
                total += float(losses.numpy().sum(dtype=np.float64))
                report(min(1.0, (first + context) / length))
    finally:
        model.train(was_training)
    return total / places


def _reader(model: Module, rows: int) -> Read:
    cache = model.new_cache(rows)

    def read(x: Tensor, boundaries: np.ndarray | None) -> Tensor:
        logits: Tensor = model(x, cache=cache)
        return logits

    return read
