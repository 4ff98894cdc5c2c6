"""The learning rate of a run: linear warm-up, then constant, cosine or linear to ``min_lr``.

>>> from tinytape.models.spec import learning_rate
>>> from tinytape.training import TrainConfig, resolve
>>> config = resolve(
...     TrainConfig(lr=1.0, min_lr=0.0, iters=11, warmup=2, schedule="linear", data="x.txt")
... )
>>> [round(learning_rate(step, config), 2) for step in (0, 1, 2, 6, 10)]
[0.33, 0.67, 1.0, 0.5, 0.0]
"""

from __future__ import annotations

import math

from .train_settings import TrainSettings


def learning_rate(step: int, config: TrainSettings) -> float:
    """The rate of step 0 .. iters - 1; needs a resolved config.

    A function of the step alone, so a resumed run cannot drift from an uninterrupted one. Warm-up
    reaches ``lr`` at step ``warmup``; the last step runs at ``min_lr``. The cosine is half a
    period, without restarts (Loshchilov and Hutter 2017, equation 5).
    """
    if step < config.warmup:
        return config.lr * (step + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return config.lr
    last = max(1, config.iters - 1 - config.warmup)
    done = min(1.0, (step - config.warmup) / last)
    share = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.min_lr + (config.lr - config.min_lr) * share
