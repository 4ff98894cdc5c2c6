"""What a tensor can do by an operator or a method: the functions of functional.py, bound to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinytape import errors
from tinytape import functional as F
from tinytape.functional.indexing import get_item, with_item

if TYPE_CHECKING:
    from tinytape.tensor import Tensor


class Operators:
    """The base of Tensor that holds its operators and the methods that are functions too."""

    __slots__ = ()

    def __getitem__(self: Any, index: Any) -> Tensor:
        return get_item(self, index)

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        """Overwrite elements of a leaf; never recorded.

        Raises:
            TapeStateError: for a tensor that an operation recorded or that requires grad.
            IndexError: for an element that does not exist.
        """
        self._check_in_place(self._read_info())
        self.copy_(with_item(self, index, value))

    def __add__(self: Any, other: Any) -> Tensor:
        return F.add(self, other)

    def __radd__(self: Any, other: Any) -> Tensor:
        return F.add(other, self)

    def __sub__(self: Any, other: Any) -> Tensor:
        return F.sub(self, other)

    def __rsub__(self: Any, other: Any) -> Tensor:
        return F.sub(other, self)

    def __mul__(self: Any, other: Any) -> Tensor:
        return F.mul(self, other)

    def __rmul__(self: Any, other: Any) -> Tensor:
        return F.mul(other, self)

    def __truediv__(self: Any, other: Any) -> Tensor:
        return F.div(self, other)

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        return F.div(other, self)

    def __matmul__(self: Any, other: Any) -> Tensor:
        return F.matmul(self, other)

    def __neg__(self: Any) -> Tensor:
        return F.neg(self)

    def _check_in_place(self: Any, info: list[int]) -> None:
        if info[2] and self._context.grad_enabled:
            raise errors.TapeStateError(
                "a leaf that requires grad cannot be changed in place while operations are "
                "recorded: do it under no_grad()"
            )

    def _in_place(self: Any, value: Tensor) -> Tensor:
        """What ``tensor += ...`` leaves: a leaf is overwritten, a result gets a new name."""
        info = self._read_info()
        if not info[3]:
            return value
        self._check_in_place(info)
        self.copy_(value)
        leaf: Tensor = self
        return leaf

    def __iadd__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place(F.add(self, other))
        return kept

    def __isub__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place(F.sub(self, other))
        return kept

    def __imul__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place(F.mul(self, other))
        return kept

    def __itruediv__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place(F.div(self, other))
        return kept

    # ---- functions of the first argument are methods too ----

    add = F.add
    sub = F.sub
    mul = F.mul
    div = F.div
    neg = F.neg
    exp = F.exp
    log = F.log
    tanh = F.tanh
    erf = F.erf
    sqrt = F.sqrt
    rsqrt = F.rsqrt
    matmul = F.matmul
    sum = F.sum
    mean = F.mean
    softmax = F.softmax
    log_softmax = F.log_softmax
    reshape = F.reshape
    view = F.view
    flatten = F.flatten
    permute = F.permute
    transpose = F.transpose
    squeeze = F.squeeze
    unsqueeze = F.unsqueeze
    expand = F.expand
    contiguous = F.contiguous
    clone = F.clone
    narrow = F.narrow
    split = F.split
    chunk = F.chunk
    gather = F.gather
    index_select = F.index_select
    scatter_add = F.scatter_add
