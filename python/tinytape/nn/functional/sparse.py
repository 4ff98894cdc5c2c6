"""Embeddings, and one-hot vectors.

>>> from tinytape.nn import functional as F
>>> weight = tt.tensor([[0.0, 1.0], [2.0, 3.0]])
>>> F.embedding(tt.tensor([1, 0]), weight).tolist()
[[2.0, 3.0], [0.0, 1.0]]
>>> F.one_hot(tt.tensor([0, 2])).tolist()
[[1, 0, 0], [0, 0, 1]]
"""

from __future__ import annotations

import numpy as np

from tinytape._ffi import OPS
from tinytape._pytorch import refuse_others
from tinytape.dtypes import bool_, int64
from tinytape.errors import ArgumentError, DTypeError, OutOfRangeError
from tinytape.functional._apply import apply, check_tensor, from_array
from tinytape.tensor import Tensor

__all__ = ["embedding", "one_hot"]


_PLAIN = (None, None, 2.0, False, False)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: None = None,
    max_norm: None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of weight (V, D) at the indices input (...), of integers -> (..., D).

    As ``torch.nn.functional.embedding``, without the options below.

    Args:
        padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse: PyTorch's, not supported;
            anything but their defaults raises.

    Raises:
        IndexError: for an index outside 0..V-1.
        ArgumentError: for an option that is not supported.
        DTypeError: for indices that are no integers.
    """
    if (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse) != _PLAIN:
        options = {
            "padding_idx": padding_idx,
            "max_norm": max_norm,
            "norm_type": norm_type,
            "scale_grad_by_freq": scale_grad_by_freq,
            "sparse": sparse,
        }
        refuse_others("embedding", options, *options)
    check_tensor("embedding", input)
    check_tensor("embedding", weight)
    return apply(OPS["embedding"], (weight, input))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class, 0 elsewhere: class indices (...), of integers -> (..., num_classes), int64.

    As ``torch.nn.functional.one_hot``, for integers of any width.

    Args:
        num_classes: one more than the largest index when left out.

    Raises:
        IndexError: for an index below 0, or not below num_classes.
        DTypeError: for indices that are no integers.
        ArgumentError: for fewer than 1 class, or no num_classes where there is no index.
    """
    check_tensor("one_hot", tensor)
    if tensor.dtype.is_floating_point or tensor.dtype is bool_:
        raise DTypeError(f"one_hot: expected indices of integers, got {tensor.dtype}")
    index = tensor.numpy().astype(np.int64)
    if num_classes == -1:
        if index.size == 0:
            raise ArgumentError("one_hot: expected num_classes where there is no index")
        num_classes = int(index.max()) + 1
    if num_classes < 1:
        raise ArgumentError(f"one_hot: expected at least one class, got {num_classes}")
    bad = index[(index < 0) | (index >= num_classes)]
    if bad.size:
        raise OutOfRangeError(f"one_hot: index {bad[0]} is out of range for {num_classes} classes")
    hot = np.zeros((*index.shape, num_classes), np.int64)
    np.put_along_axis(hot, index[..., None], 1, -1)
    return from_array(hot, int64)
