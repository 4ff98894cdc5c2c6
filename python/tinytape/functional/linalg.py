"""Products of matrices and vectors.

>>> a = tt.tensor([[1.0, 2.0], [3.0, 4.0]])
>>> tt.matmul(a, tt.tensor([1.0, 1.0])).tolist()
[3.0, 7.0]
>>> tt.outer(tt.tensor([1, 2]), tt.tensor([3, 4])).tolist()
[[3, 4], [6, 8]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinytape._ffi import OPS
from tinytape.dtypes import bool_
from tinytape.errors import DTypeError, ShapeError
from tinytape.functional._apply import apply, check_tensor, from_array
from tinytape.functional.comparison import where
from tinytape.functional.elementwise import add, mul
from tinytape.functional.shape import reshape, unsqueeze

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = [
    "addmm",
    "bmm",
    "dot",
    "matmul",
    "mm",
    "mv",
    "outer",
]


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product of (..., m, k) and (..., k, n); leading axes broadcast.

    A vector is a row on the left and a column on the right, and that axis is gone from the result.
    Integers wrap around.

    As ``torch.matmul``.

    Raises:
        ShapeError: when the inner sizes differ or a factor has no dimension.
        DTypeError: when the types differ, or are bool.
    """
    check_tensor("matmul", input)
    check_tensor("matmul", other)
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError(
            f"matmul: both factors need a dimension, got {input.shape} and {other.shape}"
        )
    a = unsqueeze(input, 0) if input.ndim == 1 else input
    b = unsqueeze(other, 1) if other.ndim == 1 else other
    product = apply(OPS["matmul"], (a, b))
    shape = list(product.shape)
    if input.ndim == 1:
        del shape[-2]
    if other.ndim == 1:
        del shape[-1]
    return product if len(shape) == product.ndim else reshape(product, shape)


def _check(name: str, a: Tensor, b: Tensor, expected: str, fits: bool) -> None:
    if not fits:
        raise ShapeError(f"{name}: expected {expected}, got shapes {a.shape} and {b.shape}")
    if a.dtype is not b.dtype:
        raise DTypeError(f"{name}: inputs must share one dtype, got {a.dtype} and {b.dtype}")


def _ndims(name: str, a: Tensor, b: Tensor) -> tuple[int, int]:
    check_tensor(name, a)
    check_tensor(name, b)
    return a.ndim, b.ndim


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of the matrices (m, k) and (k, n), without broadcasting.

    As ``torch.mm``. Integers wrap around.

    Raises:
        ShapeError: for other shapes.
        DTypeError: when the types differ, or are bool.
    """
    fits = _ndims("mm", input, mat2) == (2, 2) and input.shape[1] == mat2.shape[0]
    _check("mm", input, mat2, "(m, k) and (k, n)", fits)
    return matmul(input, mat2)


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha mat1 mat2, where input is broadcast to the product (m, n).

    As ``torch.addmm``.

    Args:
        input: not looked at where beta is 0.
        mat1, mat2: (m, k) and (k, n), of one dtype, which is the input's too.
        beta, alpha: among integers they lose their fraction, as in PyTorch.

    Raises:
        ShapeError: for other shapes.
        DTypeError: when the types differ, or are bool.
    """
    check_tensor("addmm", input)
    fits = _ndims("addmm", mat1, mat2) == (2, 2) and mat1.shape[1] == mat2.shape[0]
    _check("addmm", mat1, mat2, "(m, k) and (k, n)", fits)
    shape = (mat1.shape[0], mat2.shape[1])
    stretches = input.ndim <= 2 and all(
        n in (1, m) for n, m in zip(reversed(input.shape), reversed(shape), strict=False)
    )
    _check("addmm", input, mat1, f"an input that broadcasts to {shape}", stretches)
    if not mat1.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)
    product = matmul(mat1, mat2)
    if alpha != 1:
        product = mul(product, alpha)
    if beta == 0:  # infinities and NaN of input do not count either, and its gradient is zero
        return where(from_array(np.zeros((), bool), bool_), input, product)
    return add(input if beta == 1 else mul(input, beta), product)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of the matrices in (b, m, k) and (b, k, n), without broadcasting.

    As ``torch.bmm``. Integers wrap around.

    Raises:
        ShapeError: for other shapes.
        DTypeError: when the types differ, or are bool.
    """
    fits = _ndims("bmm", input, mat2) == (3, 3)
    fits = fits and input.shape[0] == mat2.shape[0] and input.shape[2] == mat2.shape[1]
    _check("bmm", input, mat2, "(b, m, k) and (b, k, n)", fits)
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of the matrix (m, k) and the vector (k,).

    As ``torch.mv``. Integers wrap around.

    Raises:
        ShapeError: for other shapes.
        DTypeError: when the types differ, or are bool.
    """
    fits = _ndims("mv", input, vec) == (2, 1) and input.shape[1] == vec.shape[0]
    _check("mv", input, vec, "(m, k) and (k,)", fits)
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors of one size.

    As ``torch.dot``. Two shapes (n,) give a single value.

    Raises:
        ShapeError: for other shapes.
        DTypeError: when the types differ, or are bool.
    """
    fits = _ndims("dot", input, tensor) == (1, 1) and input.shape == tensor.shape
    _check("dot", input, tensor, "two vectors of one size", fits)
    return matmul(input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """(m, n) of the products of each element of (m,) with each of (n,); types are promoted.

    As ``torch.outer``.

    Raises:
        ShapeError: for other shapes.
    """
    if _ndims("outer", input, vec2) != (1, 1):
        raise ShapeError(f"outer: expected two vectors, got shapes {input.shape} and {vec2.shape}")
    return mul(unsqueeze(input, 1), vec2)
