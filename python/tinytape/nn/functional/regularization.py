"""Dropout."""

from __future__ import annotations

from tinytape._ffi import OPS
from tinytape.errors import ArgumentError
from tinytape.functional._apply import apply, check_tensor
from tinytape.random import Generator, default_generator
from tinytape.tensor import Tensor

__all__ = ["dropout"]


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Each element zero with probability p, the others scaled by 1 / (1 - p).

    Srivastava et al. (2014). The input itself when not training. The mask is a function of the
    generator's seed and offset, which advances.
    """
    check_tensor("dropout", input)
    if inplace:
        raise ArgumentError("dropout: inplace must be False")
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: the probability must be between 0 and 1, got {p}")
    if not training or p == 0.0:
        return input
    source = generator if generator is not None else default_generator
    return apply(OPS["dropout"], (input,), source._draw(input.numel()), (p,))
