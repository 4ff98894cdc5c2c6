"""Dropout.

>>> from tinytape.nn import functional as F
>>> F.dropout(tt.ones(3), training=False).tolist()
[1.0, 1.0, 1.0]
"""

from __future__ import annotations

from tinytape.errors import ArgumentError
from tinytape.functional._apply import check_tensor, run
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

    As ``torch.nn.functional.dropout`` (Srivastava et al., 2014). Any shape -> the same shape; the
    input itself when not training. The mask is a function of the generator's seed and offset, which
    advances.

    Args:
        input: float32 or float64.
        inplace: not supported; True raises.
        generator: draws the mask; ``tt.default_generator`` by default.

    Raises:
        ArgumentError: for p outside [0, 1], or inplace=True.
        DTypeError: for integers and bools.
    """
    check_tensor("dropout", input)
    if inplace:
        raise ArgumentError("dropout: inplace must be False")
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: the probability must be between 0 and 1, got {p}")
    if not training or p == 0.0:
        return input
    source = generator if generator is not None else default_generator
    seed, stream, offset = source._draw(input.numel())
    return run["dropout"]((input,), seed=seed, stream=stream, offset=offset, p=p)
