"""Layers that look rows up.

>>> table = tt.nn.Embedding(10, 4)
>>> table(tt.tensor([[1, 2, 3]])).shape
(1, 3, 4)
"""

from __future__ import annotations

from typing import Any

from .._pytorch import refuse_others
from ..creation import zeros
from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class Embedding(Module):
    """A table of ``num_embeddings`` rows, looked up by number.

    As ``torch.nn.Embedding``, without the options below.

    Raises:
        ArgumentError: for an option that is not supported.

    Args:
        num_embeddings: rows.
        embedding_dim: size of a row.
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: PyTorch's, not supported;
            anything but their defaults raises.
        device: None or the CPU.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values; ``tt.default_generator`` by default.

    Parameters: ``weight`` (num_embeddings, embedding_dim) from N(0, 1).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: None = None,
        max_norm: None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        options = {
            "device": device,
            "padding_idx": padding_idx,
            "max_norm": max_norm,
            "norm_type": norm_type,
            "scale_grad_by_freq": scale_grad_by_freq,
            "sparse": sparse,
        }
        refuse_others("Embedding", options, *options)
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.weight = Parameter(zeros(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        init.normal_(self.weight, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        """int64 (...) -> (..., embedding_dim).

        Raises:
            IndexError: for a number outside the table.
        """
        return F.embedding(input, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
