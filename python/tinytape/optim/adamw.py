"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2)."""

from __future__ import annotations

from typing import Any

from ._options import refuse
from .adam import Adam
from .optimizer import Params


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights by ``lr * weight_decay``, past the moments.

    Arguments and errors are those of :class:`Adam`; ``weight_decay`` is 1e-2 unless told.
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
