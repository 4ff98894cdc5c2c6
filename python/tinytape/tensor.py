"""Tensor: an array that remembers how it was computed.

>>> x = tt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
>>> y = (x * x).sum()
>>> y.backward()
>>> x.grad.tolist()
[[2.0, 4.0], [6.0, 8.0]]
>>> x.shape, x.dtype, x.is_leaf
((2, 2), tinytape.float32, True)
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytape import dtypes, errors
from tinytape._ffi import binding, check, ffi, lib
from tinytape._pytorch import read_to
from tinytape._shapes import shapes_only
from tinytape.autograd.differentiable import Differentiable
from tinytape.context import Context, current
from tinytape.copying import Copying
from tinytape.copying import rebuild as rebuild  # by this name in older pickles
from tinytape.devices import CPU
from tinytape.devices import device as Device
from tinytape.dtypes import dtype as DType
from tinytape.functional import _apply
from tinytape.operators import Operators

Scalar = int | float


class Tensor(Operators, Differentiable, Copying, binding.TensorBase):
    """An n-dimensional array on the CPU, with reverse-mode differentiation.

    Tensors are made by :func:`tinytape.tensor` and its like, and by operations. Names, defaults and
    meaning are PyTorch's; the README lists the parts of PyTorch that are missing. A tensor has at
    most eight dimensions. It belongs to the thread that made it, an unpickled one to the thread
    that first uses it; any thread may pickle it, or copy it deeply for itself. A recorded result
    lives until the graph is released by ``backward()``; if it is still held then, it keeps its
    value.
    """

    __slots__ = ("__weakref__",)
    __array_ufunc__ = None  # so that ndarray * Tensor is ours to answer

    _context: Context

    @classmethod
    def _from_array(
        cls, array: np.ndarray[Any, Any], kind: DType, pool: int = lib.TT_POOL_DATA
    ) -> Any:
        """A new leaf that holds a copy of a contiguous array."""
        context = current()
        shape = ffi.new("int64_t[]", array.shape or (0,))
        data = ffi.from_buffer(array) if array.size else ffi.NULL
        return context.make(lib.tt_new, pool, kind.code, array.ndim, shape, data, cls=cls)

    # ---- its properties ----

    def _read_info(self) -> list[int]:
        """dtype, ndim, requires_grad, is_leaf, is_contiguous, numel, shape, strides."""
        self._context.enter()
        info = ffi.new("int64_t[22]")
        check(lib.tt_info(self._context.pointer, self._handle, info))
        return list(ffi.unpack(info, 22))

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted for this tensor. It can be set on leaves only.

        Raises:
            TapeStateError: when it is set on the result of a recorded operation.
            DTypeError: when it is set on a tensor of integers or bools.
        """
        return bool(self._read_info()[2])

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether gradients are wanted for this leaf; returns self.

        Raises:
            TapeStateError: for the result of a recorded operation.
            DTypeError: for a tensor of integers or bools.
        """
        self._context.enter()
        check(lib.tt_set_requires_grad(self._context.pointer, self._handle, bool(requires_grad)))
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor. A tensor that requires no gradient is a
        leaf.
        """
        info = self._read_info()
        return bool(info[3]) or not info[2]

    def is_contiguous(self) -> bool:
        """Whether the elements lie row-major in memory, without gaps."""
        return bool(self._read_info()[4])

    def stride(self, dim: int | None = None) -> Any:
        """Strides in elements, one for each axis; or that of one axis.

        Raises:
            OutOfRangeError: for an axis that does not exist.
        """
        info = self._read_info()
        return _apply.along("stride", tuple(info[6 + info[1] : 6 + 2 * info[1]]), dim)

    def size(self, dim: int | None = None) -> Any:
        """The shape; or the size of one axis.

        Raises:
            OutOfRangeError: for an axis that does not exist.
        """
        return _apply.along("size", self.shape, dim)

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self._read_info()[5])

    nelement = numel

    # ---- its values ----

    def numpy(self, *, force: builtins.bool = False) -> np.ndarray[Any, Any]:
        """A copy of the values as an array of the same shape and type.

        PyTorch returns a view. Here the tensor's storage may move when its step ends, so it is
        always a copy, and PyTorch's ``force`` changes nothing.
        """
        out = np.empty(self.shape, dtype=self.dtype.numpy)
        if out.size:
            self._context.enter()
            check(
                lib.tt_read(self._context.pointer, self._handle, ffi.from_buffer(out), out.nbytes)
            )
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("a tensor's values can only be copied to numpy")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            RuntimeError: when there is not exactly one.
        """
        if self.numel() != 1:
            raise errors.TapeStateError(f"item: a tensor of shape {self.shape} has no single value")
        return self.numpy().item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; a number for a tensor of no dimensions."""
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError(
                f"index: expected a tensor of one integer, got {self.dtype} of shape {self.shape}"
            )
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.shape == () else super().__format__(spec)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", precision=4, prefix="tensor(")
        usual = (dtypes.float32, dtypes.int64, dtypes.bool_)
        kind = "" if self.dtype in usual else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({values}{kind}{grad})"

    # ---- in place, for leaves; never recorded ----

    def copy_(self, src: Any, non_blocking: builtins.bool = False) -> Tensor:
        """Overwrite the values with those of a Tensor, array or number; returns self.

        As ``torch.Tensor.copy_``, but never recorded.

        Args:
            src: broadcast to this shape and converted to this type.
            non_blocking: changes nothing: there is nothing to wait for.

        Raises:
            TapeStateError: for a tensor that an operation recorded, or a source whose gradient
                would be lost.
            ShapeError: when the shapes do not fit.
            NumberError: for a plain number that the type does not hold. (Tensors and arrays are
                converted, and wrap around.)
        """
        return self._overwrite("copy_", src)

    def _overwrite(self, name: str, src: Any) -> Tensor:
        if shapes_only.active:
            return self
        if isinstance(src, np.ndarray) and src.shape == self.shape:
            array, _ = dtypes.as_array(src, self.dtype, name)
            self._context.enter()
            data = ffi.from_buffer(array) if array.size else ffi.NULL
            check(lib.tt_write(self._context.pointer, self._handle, data, array.nbytes))
            return self
        return self._overwrite_with(name, _apply.source(src, self, name))

    def _overwrite_with(self, name: str, src: Tensor, mask: Tensor | None = None) -> Tensor:
        """Overwrite the elements, where a mask is given only those where it is true."""
        if shapes_only.active:
            return self
        self._context.enter()
        where = mask._handle if mask is not None else 0
        pointer = self._context.pointer
        check(lib.tt_copy(pointer, self._handle, src._handle, where, name.encode()))
        return self

    def fill_(self, value: Scalar) -> Tensor:
        """Overwrite all values with one number, as :meth:`copy_` does; returns self.

        As ``torch.Tensor.fill_``, but never recorded.

        Raises:
            NumberError: for a number that the type does not hold.
            TapeStateError: for a tensor that an operation recorded.
        """
        return self._overwrite("fill_", value)

    def zero_(self) -> Tensor:
        """Overwrite all values with 0; returns self.

        As ``torch.Tensor.zero_``, but never recorded.

        Raises:
            TapeStateError: for a tensor that an operation recorded.
        """
        return self._overwrite("zero_", 0)

    # ---- in another type ----

    def to(self, *args: Any, **options: Any) -> Tensor:
        """The values in another type, or in another tensor's; self when it has that type already.

        ``to(dtype)``, ``to(other)``, ``to(device)`` or ``to(device, dtype)``, then ``non_blocking``
        and ``copy``, as in PyTorch; the device is the CPU. Gradients pass, converted back. A
        float's fraction is cut off, integers wrap around.

        Raises:
            DTypeError: for anything that is not a type.
            ArgumentError: for another device.
        """
        usual = len(args) == 1 and not options and type(args[0]) is DType
        wanted, copied = (args[0], False) if usual else read_to(args, options)
        if wanted is None or wanted is self.dtype:
            return self.clone() if copied else self
        return _apply.run["to"]((self,), dtype=wanted.code)

    def type_as(self, other: Tensor) -> Tensor:
        """The values in another tensor's type."""
        return self.to(other)

    def cpu(self) -> Tensor:
        """Itself: there is no other device."""
        return self

    @property
    def device(self) -> Device:
        """``device("cpu")``."""
        return CPU

    def float(self) -> Tensor:
        """The values as float32, as :meth:`to` converts them; self if they are that already."""
        return self.to(dtypes.float32)

    def double(self) -> Tensor:
        """The values as float64, as :meth:`to` converts them; self if they are that already."""
        return self.to(dtypes.float64)

    def long(self) -> Tensor:
        """The values as int64, as :meth:`to` converts them; self if they are that already."""
        return self.to(dtypes.int64)

    def int(self) -> Tensor:
        """The values as int32, as :meth:`to` converts them; self if they are that already."""
        return self.to(dtypes.int32)

    def bool(self) -> Tensor:
        """The values as bool, False for 0 and True for others; self if they are that already."""
        return self.to(dtypes.bool_)


_apply.set_up(Tensor)
