"""The operators and methods of Tensor, each of which calls a function of ``functional``.

>>> x = tt.tensor([1.0, 2.0])
>>> (2 * x + 1).tolist(), x.add(1).tolist(), (x > 1).tolist()
([3.0, 5.0], [2.0, 3.0], [False, True])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape import dtypes, errors
from tinytape import functional as F
from tinytape._ffi import check, lib
from tinytape.functional.subscript import get_item, set_item

if TYPE_CHECKING:
    from tinytape.tensor import Tensor


def _has_elements(value: Any) -> bool:
    return isinstance(value, (Operators, int, float, np.ndarray, np.generic))


class Operators:
    """The base of Tensor: its operators, and the methods that are functions too."""

    __slots__ = ()

    def __getitem__(self: Any, index: Any) -> Tensor:
        return get_item(self, index)

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        """Overwrite elements of a leaf with a value that broadcasts to them.

        Unlike PyTorch's, never recorded. The cost grows with the elements written. Where an index
        names an element twice, the last value stays.

        Raises:
            TapeStateError: for a tensor that an operation recorded or that requires grad.
            IndexError: for an element that does not exist.
            NumberError: for a number that the type cannot hold.
        """
        self._check_in_place("index")
        set_item(self, index, value)

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

    def __mod__(self: Any, other: Any) -> Tensor:
        return F.remainder(self, other)

    def __rmod__(self: Any, other: Any) -> Tensor:
        return F.remainder(other, self)

    def __floordiv__(self: Any, other: Any) -> Tensor:
        return F.floor_divide(self, other)

    def __rfloordiv__(self: Any, other: Any) -> Tensor:
        return F.floor_divide(other, self)

    def __pow__(self: Any, other: Any) -> Tensor:
        return F.pow(self, other)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return F.pow(other, self)

    def __and__(self: Any, other: Any) -> Tensor:
        return F.bitwise_and(self, other)

    def __rand__(self: Any, other: Any) -> Tensor:
        return F.bitwise_and(other, self)

    def __or__(self: Any, other: Any) -> Tensor:
        return F.bitwise_or(self, other)

    def __ror__(self: Any, other: Any) -> Tensor:
        return F.bitwise_or(other, self)

    def __xor__(self: Any, other: Any) -> Tensor:
        return F.bitwise_xor(self, other)

    def __rxor__(self: Any, other: Any) -> Tensor:
        return F.bitwise_xor(other, self)

    def __neg__(self: Any) -> Tensor:
        return F.neg(self)

    def __pos__(self: Any) -> Tensor:
        itself: Tensor = self
        return itself

    def __abs__(self: Any) -> Tensor:
        return F.abs(self)

    def __invert__(self: Any) -> Tensor:
        return F.bitwise_not(self)

    # Comparisons are of elements; in a set or as a key a tensor is compared by identity.
    __hash__ = object.__hash__

    def __eq__(self: Any, other: Any) -> Any:
        return F.eq(self, other) if _has_elements(other) else NotImplemented

    def __ne__(self: Any, other: Any) -> Any:
        return F.ne(self, other) if _has_elements(other) else NotImplemented

    def __lt__(self: Any, other: Any) -> Tensor:
        return F.lt(self, other)

    def __le__(self: Any, other: Any) -> Tensor:
        return F.le(self, other)

    def __gt__(self: Any, other: Any) -> Tensor:
        return F.gt(self, other)

    def __ge__(self: Any, other: Any) -> Tensor:
        return F.ge(self, other)

    def _check_in_place(self: Any, name: str) -> None:
        self._context.enter()
        check(lib.tt_check_in_place(self._context.pointer, self._handle, name.encode()))

    def _in_place(self: Any, name: str, value: Tensor) -> Tensor:
        """The result of ``tensor += ...``: a leaf is overwritten, a result gets a new name."""
        if not self._read_info()[3]:
            return value
        self._check_in_place(name)
        if not dtypes.can_cast(value.dtype, self.dtype):
            raise errors.DTypeError(
                f"{name}: a result of {value.dtype} cannot be stored in a tensor of {self.dtype}"
            )
        if value.shape != self.shape:
            raise errors.ShapeError(
                f"{name}: a result of shape {value.shape} cannot be stored in a tensor of shape "
                f"{self.shape}"
            )
        leaf: Tensor = self._overwrite(name, value)
        return leaf

    def __iadd__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("add", F.add(self, other))
        return kept

    def __isub__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("sub", F.sub(self, other))
        return kept

    def __imul__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("mul", F.mul(self, other))
        return kept

    def __itruediv__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("div", F.div(self, other))
        return kept

    def __ifloordiv__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("floor_divide", F.floor_divide(self, other))
        return kept

    def __imod__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("remainder", F.remainder(self, other))
        return kept

    def __ipow__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("pow", F.pow(self, other))
        return kept

    def __iand__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("bitwise_and", F.bitwise_and(self, other))
        return kept

    def __ior__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("bitwise_or", F.bitwise_or(self, other))
        return kept

    def __ixor__(self: Any, other: Any) -> Tensor:
        kept: Tensor = self._in_place("bitwise_xor", F.bitwise_xor(self, other))
        return kept

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """This tensor where condition is true, else other; see :func:`tinytape.where`."""
        return F.where(condition, self, other)

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
    abs = F.abs
    ceil = F.ceil
    clamp = F.clamp
    cos = F.cos
    expm1 = F.expm1
    floor = F.floor
    floor_divide = F.floor_divide
    log1p = F.log1p
    maximum = F.maximum
    minimum = F.minimum
    pow = F.pow
    reciprocal = F.reciprocal
    relu = F.relu
    remainder = F.remainder
    round = F.round
    sigmoid = F.sigmoid
    sign = F.sign
    sin = F.sin
    square = F.square
    trunc = F.trunc
    eq = F.eq
    ne = F.ne
    lt = F.lt
    le = F.le
    gt = F.gt
    ge = F.ge
    isnan = F.isnan
    isinf = F.isinf
    isfinite = F.isfinite
    logical_and = F.logical_and
    logical_or = F.logical_or
    logical_xor = F.logical_xor
    logical_not = F.logical_not
    bitwise_and = F.bitwise_and
    bitwise_or = F.bitwise_or
    bitwise_xor = F.bitwise_xor
    bitwise_not = F.bitwise_not
    matmul = F.matmul
    mm = F.mm
    bmm = F.bmm
    mv = F.mv
    dot = F.dot
    addmm = F.addmm
    outer = F.outer
    sum = F.sum
    mean = F.mean
    prod = F.prod
    cumsum = F.cumsum
    logsumexp = F.logsumexp
    amax = F.amax
    amin = F.amin
    max = F.max
    min = F.min
    argmax = F.argmax
    argmin = F.argmin
    all = F.all
    any = F.any
    var = F.var
    std = F.std
    norm = F.norm
    sort = F.sort
    argsort = F.argsort
    topk = F.topk
    softmax = F.softmax
    log_softmax = F.log_softmax
    reshape = F.reshape
    reshape_as = F.reshape_as
    view = F.view
    view_as = F.view_as
    flatten = F.flatten
    unflatten = F.unflatten
    permute = F.permute
    transpose = F.transpose
    swapaxes = F.transpose
    swapdims = F.transpose
    movedim = F.movedim
    moveaxis = F.movedim
    t = F.t
    squeeze = F.squeeze
    unsqueeze = F.unsqueeze
    expand = F.expand
    expand_as = F.expand_as
    broadcast_to = F.broadcast_to
    contiguous = F.contiguous
    clone = F.clone
    narrow = F.narrow
    diagonal = F.diagonal

    def split(self: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Consecutive pieces of one axis as views; arguments and errors are those of
        :func:`tinytape.split`.
        """
        return F.split(self, split_size, dim)

    chunk = F.chunk
    gather = F.gather
    index_select = F.index_select
    masked_fill = F.masked_fill
    scatter_add = F.scatter_add
    unbind = F.unbind
    flip = F.flip
    fliplr = F.fliplr
    flipud = F.flipud
    roll = F.roll
    repeat = F.repeat
    tile = F.tile
    tril = F.tril
    triu = F.triu

    @property
    def T(self: Any) -> Tensor:
        """A matrix transposed, (m, n) -> (n, m); a vector or a single value as it is. A view.

        Raises:
            ShapeError: for more than 2 dimensions.
        """
        if self.ndim > 2:
            raise errors.ShapeError(
                f"T: expected at most 2 dimensions, got shape {self.shape}: use mT or permute"
            )
        return F.t(self)

    @property
    def mT(self: Any) -> Tensor:
        """The last two axes exchanged, (..., m, n) -> (..., n, m). A view.

        Raises:
            ShapeError: for fewer than 2 dimensions.
        """
        if self.ndim < 2:
            raise errors.ShapeError(f"mT: expected at least 2 dimensions, got shape {self.shape}")
        return F.transpose(self, -2, -1)
