"""Hooks: functions that see, and may replace, the gradient of a tensor.

>>> x = tt.tensor([1.0, 2.0], requires_grad=True)
>>> handle = x.register_hook(lambda gradient: gradient * 10)
>>> x.sum().backward()
>>> x.grad.tolist()
[10.0, 10.0]
>>> handle.remove()
"""

from __future__ import annotations

import itertools
from _thread import get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinytape._ffi import binding, check, ffi, lib
from tinytape.context import Context
from tinytape.errors import DTypeError, NonFiniteError, ShapeError, TapeStateError
from tinytape.functional._apply import is_tensor

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

Hook = Callable[["Tensor"], "Tensor | None"]

#: The numbers by which the core knows hooks and Functions.
numbers = itertools.count(1)


class Hooks:
    """All hooks of one tensor.

    Those of a recorded result live as long as the core's node, whoever holds the Tensor object.
    Those of a leaf belong to its Tensor object, so that a hook which refers to its tensor is a
    cycle that the garbage collector frees; when the object goes and the tape still needs the leaf,
    they stay until the tape needs it no more.
    """

    __slots__ = ("__weakref__", "context", "functions", "grad", "leaf", "number", "retains_grad")

    def __init__(self, context: Context, number: int, leaf: Tensor | None) -> None:
        self.context = context
        self.number = number
        self.functions: dict[int, Hook] = {}
        self.retains_grad = False
        self.grad: Tensor | None = None
        #: A hold of our own on a leaf, which keeps it valid for hooks that refer to it.
        self.leaf = leaf

    def __del__(self) -> None:
        if getattr(self, "leaf", None) is None:  # of no leaf, or not even made
            return
        context = self.context
        here = get_ident() == context.thread
        if context.closed or (here and not self.used_by_tape()):
            self.release()
            return
        context.attached[self.number] = self
        context.lingering.append(self)

    def used_by_tape(self) -> bool:
        """Whether the tape still needs the leaf."""
        leaf = self.leaf
        return leaf is not None and bool(lib.tt_used_by_tape(self.context.pointer, leaf._handle))

    def release(self) -> None:
        """End hooks that were kept for the tape."""
        self.functions.clear()
        if self.context.attached.get(self.number) is self:
            del self.context.attached[self.number]
        self.leaf = None

    def answer(self, context: Context) -> tuple[str, list[Tensor | None]]:
        """The gradient that the paused pass has, after all hooks; None where they changed nothing.

        Raises:
            ShapeError, DTypeError: where a hook returns a gradient that does not fit.
        """
        given: Tensor = binding.paused_gradient(context, 0)
        gradient = given
        for function in list(self.functions.values()):
            with naming("register_hook: in a hook: "):
                replacement = function(gradient)
            if replacement is not None:
                _check_replacement(replacement, gradient)
                gradient = replacement
        if self.retains_grad:
            seen = gradient.detach()
            self.grad = seen if self.grad is None else (self.grad + seen).detach()
        return "register_hook", [None if gradient is given else gradient]


class naming:
    """A ``with`` block that adds the name of a hook or Function to a NonFiniteError.

    The operation that finds a value which is not finite does not know for whom it ran.
    """

    # No generator: an interrupt in one can keep all that its frame holds.
    __slots__ = ("whose",)

    def __init__(self, whose: str) -> None:
        self.whose = whose

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, NonFiniteError):
            error.args = (f"{self.whose}{error}",)


def _check_replacement(new: Any, old: Tensor) -> None:
    if not is_tensor(new):
        raise TypeError(
            f"register_hook: a hook must return a Tensor or None, got {type(new).__name__}"
        )
    if new.shape != old.shape:
        raise ShapeError(
            f"register_hook: a hook returned shape {new.shape} for a gradient of shape {old.shape}"
        )
    if new.dtype is not old.dtype:
        raise DTypeError(
            f"register_hook: a hook returned {new.dtype} for a gradient of {old.dtype}"
        )


class RemovableHandle:
    """Removes a hook: by ``remove()``, or at the end of a ``with`` block.

    As ``torch.utils.hooks.RemovableHandle``.
    """

    def __init__(self, functions: dict[int, Hook], number: int) -> None:
        self._functions = functions
        self._number = number

    def remove(self) -> None:
        """Remove the hook; calling it again does nothing."""
        self._functions.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def hooks_of(tensor: Tensor) -> Hooks:
    """The hooks of a tensor; several Tensor objects of one tensor share them."""
    known: Hooks | None = getattr(tensor, "_hooks", None)
    if known is not None:
        return known
    context = tensor._context
    context.enter()
    context.forget_ended()
    out = ffi.new("int64_t *")
    check(lib.tt_hook(context.pointer, tensor._handle, next(numbers), out))
    number = int(out[0])
    hooks = context.attached.get(number) or context.leaf_hooks.get(number)
    if hooks is None:
        is_leaf = tensor.is_leaf
        hooks = Hooks(context, number, binding.hold(tensor) if is_leaf else None)
        if is_leaf:
            context.leaf_hooks[number] = hooks
        else:
            context.attached[number] = hooks
    tensor._hooks = hooks
    return hooks


def register_hook(tensor: Tensor, hook: Hook) -> RemovableHandle:
    """Call ``hook(gradient)`` for the gradient of ``tensor``, as ``Tensor.register_hook``."""
    if not callable(hook):
        raise TypeError(f"register_hook: expected a function, got {type(hook).__name__}")
    hooks = hooks_of(tensor)
    number = next(numbers)
    hooks.functions[number] = hook
    return RemovableHandle(hooks.functions, number)


def retain_grad(tensor: Tensor) -> None:
    """See :meth:`tinytape.Tensor.retain_grad`.

    Raises:
        TapeStateError: for a tensor that does not require a gradient.
    """
    if not tensor.requires_grad:
        raise TapeStateError("retain_grad: this tensor does not require a gradient")
    if not tensor.is_leaf:
        hooks_of(tensor).retains_grad = True
