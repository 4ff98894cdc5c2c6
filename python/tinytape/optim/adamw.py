"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

>>> weight = tt.nn.Parameter(tt.tensor([1.0]))
>>> optimizer = tt.optim.AdamW([weight], lr=0.5, weight_decay=0.5)
>>> weight.grad = tt.zeros(1)
>>> optimizer.step()
>>> weight.tolist()
[0.75]
"""

from __future__ import annotations

from typing import Any

from ._options import refuse
from .adam import Adam
from .optimizer import Params


class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink by ``lr * weight_decay`` in each step.

    As ``torch.optim.AdamW`` (Loshchilov and Hutter 2019, algorithm 2), without ``amsgrad``.
    Arguments and errors are those of :class:`Adam`; ``weight_decay`` is 1e-2 by default.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **unsupported: Any,
    ) -> None:
        refuse(self._who, unsupported)
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )
