"""Copies and pickles of tensors, and how they pass from thread to thread.

Queues, pools and executors pickle in one thread and unpickle in another, and neither needs to be
the thread that made or uses the tensor. So any thread may read the values for a pickle; they are
those of the moment when the pickle is made (a queue makes it some time after ``put``: clone what
changes meanwhile). An unpickled tensor has no thread at first: it belongs to the one that first
uses it.

>>> import copy, pickle
>>> x = tt.tensor([1.0, 2.0])
>>> copy.deepcopy(x).tolist(), pickle.loads(pickle.dumps(x)).tolist()
([1.0, 2.0], [1.0, 2.0])
"""

from __future__ import annotations

import copy
import copyreg
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from tinytape import dtypes, errors
from tinytape._ffi import lib
from tinytape.context import current
from tinytape.functional._apply import tensor_class

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

Array = np.ndarray[Any, Any]


class _Seen(NamedTuple):
    values: Array
    requires_grad: bool
    is_leaf: bool


class Copying:
    """The methods of a tensor by which it is copied and pickled."""

    __slots__ = ()

    _is_parameter: ClassVar[bool] = False

    def __copy__(self: Any) -> Any:
        """A leaf of its own with the same values: tensors never share them by accident."""
        seen = _look(self)
        return _give(_make(type(self), seen.values, seen.requires_grad), _attributes(self))

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        seen = _look(self)
        if not seen.is_leaf:
            raise errors.TapeStateError("only leaf tensors can be deep-copied: use detach() first")
        copied = memo[id(self)] = _make(type(self), seen.values, seen.requires_grad)
        _give(copied, copy.deepcopy(_attributes(self), memo))
        # As in PyTorch, where a Parameter leaves its gradient behind. Another thread's stays there.
        if not self._is_parameter and self._waiting is None and self._context is current():
            copied.grad = copy.deepcopy(self.grad, memo)
        return copied

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        hooks = getattr(self, "_hooks", None)
        if hooks is not None and hooks.functions and not self._is_parameter:
            warnings.warn("the hooks of a tensor are not pickled with it", stacklevel=2)
        seen = _look(self)
        attributes = _attributes(self)
        arguments = (seen.values, seen.requires_grad, type(self))
        return rebuild, arguments, attributes if any(attributes) else None

    def _keep_promise(self: Any, waiting: tuple[Array, bool]) -> None:
        """Become the unpickled tensor, in the calling thread."""
        self._become(_make(type(self), *waiting))


def rebuild(values: Array, requires_grad: bool, kind: type[Tensor] | None = None) -> Tensor:
    """A leaf that belongs to the thread that first uses it; for unpickling.

    Older pickles call it without ``kind``, by the name ``tinytape.tensor.rebuild``.
    """
    promised: Tensor = (kind or tensor_class())._promise((values, requires_grad))
    return promised


def _look(tensor: Any) -> _Seen:
    """From any thread, and without making a tensor that waits for its first use."""
    waiting = tensor._waiting
    if waiting is not None:
        values, requires_grad = waiting
        return _Seen(values, requires_grad, is_leaf=True)
    kind, shape, requires_grad, is_leaf, data = tensor._look()
    return _Seen(np.ndarray(shape, kind.numpy, data), requires_grad, is_leaf)


def _make(kind: type[Tensor], values: Array, requires_grad: bool) -> Tensor:
    pool = lib.TT_POOL_PARAM if kind._is_parameter else lib.TT_POOL_DATA
    values = np.asarray(values, order="C")
    made: Tensor = kind._from_array(values, dtypes.from_numpy_dtype(values.dtype), pool)
    return made.requires_grad_(requires_grad)


_Attributes = tuple[dict[str, Any] | None, dict[str, Any]]


def _attributes(tensor: Any) -> _Attributes:
    """A subclass's attributes, in a ``__dict__`` and in slots, as the pickle protocol has them."""
    # What object.__reduce_ex__ itself asks for the slots; no stub declares it.
    slots = copyreg._slotnames(type(tensor))  # type: ignore[attr-defined]
    found = {name: getattr(tensor, name) for name in slots if hasattr(tensor, name)}
    return getattr(tensor, "__dict__", None) or None, found


def _give(tensor: Tensor, attributes: _Attributes) -> Tensor:
    for kept in attributes:
        for name, value in (kept or {}).items():
            setattr(tensor, name, value)
    return tensor
