"""The held-out loss: every target of the split once, in order, without dropout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinytape as tt
from tinytape.nn import functional as F

from ..data import held_out_batches


def held_out_loss(
    model: tt.nn.Module,
    ids: np.ndarray,
    context: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> float | None:
    """Mean cross-entropy in nats over ``ids``, or None when ``should_stop`` said so on the way.

    Windows of ``context`` ids that do not overlap; the chunks of a forward pass have a fixed size
    and the losses are summed in float64 in text order, so the result has the same bits for every
    batch size and thread count.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        with tt.no_grad():
            for x, y in held_out_batches(ids, context):
                if should_stop():
                    return None
                logits = model(tt.tensor(x))
                losses = F.cross_entropy(
                    logits.reshape(-1, logits.shape[-1]), tt.tensor(y.reshape(-1)), reduction="none"
                )
                total += float(losses.numpy().sum(dtype=np.float64))
                count += y.size
    finally:
        model.train(was_training)
    return total / count
