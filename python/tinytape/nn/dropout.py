"""Dropout (Srivastava et al. 2014).

>>> layer = tt.nn.Dropout(0.5).eval()
>>> layer(tt.ones(3)).tolist()
[1.0, 1.0, 1.0]
"""

from __future__ import annotations

from ..errors import ArgumentError
from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from .module import Module


class Dropout(Module):
    """In training, zeroes each element with probability p and scales the rest by 1 / (1 - p).

    As ``torch.nn.Dropout``, without ``inplace``.

    Args:
        p: probability, in [0, 1].
        inplace: not supported; True raises.
        generator: draws the masks; ``tt.default_generator`` by default. To resume a run with the
            same masks, save and restore this generator's ``get_state()``.

    Raises:
        ArgumentError: for p outside [0, 1], or inplace=True.
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, generator: Generator | None = None
    ) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ArgumentError(f"Dropout: expected p in [0, 1], got {p}")
        if inplace:
            raise ArgumentError("Dropout: inplace=True is not supported; leave it out")
        self.p = p
        self.generator = generator

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or self.p == 0.0:
            return input
        return F.dropout(input, self.p, training=True, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
