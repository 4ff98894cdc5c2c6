"""The methods of a tensor that start a backward pass or observe one.

>>> x = tt.tensor([1.0, 2.0], requires_grad=True)
>>> y = x * x
>>> y.retain_grad()
>>> y.sum().backward()
>>> x.grad.tolist(), y.grad.tolist()
([2.0, 4.0], [1.0, 1.0])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinytape._ffi import lib
from tinytape.autograd.gradients import backward
from tinytape.autograd.hooks import RemovableHandle, register_hook, retain_grad

if TYPE_CHECKING:
    from tinytape.tensor import Tensor


class Differentiable:
    """The base of Tensor with ``backward()``, hooks and ``detach()``."""

    __slots__ = ()

    def backward(
        self: Any,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add the gradients of this tensor to ``.grad`` of the leaves it was computed from.

        As ``torch.Tensor.backward``, but without ``create_graph``.

        Args:
            gradient: the gradient of this tensor, of its shape; may be left out for one element.
            retain_graph: keep the graph for another pass. Otherwise its memory is given back.
            create_graph: refused: a gradient that carries a graph is returned, never stored; use
                :func:`tinytape.grad`.
            inputs: the tensors whose ``.grad`` is wanted; all leaves when left out.

        Raises:
            RuntimeError: when nothing here requires a gradient, the graph was released already, or
                a hook or Function of another pass calls this.
        """
        backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self: Any, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(gradient)`` whenever the gradient of this tensor has been computed.

        As ``torch.Tensor.register_hook``. A result that is not None replaces the gradient, for
        later hooks too. The hook runs in every ``backward()`` and :func:`tinytape.grad` that
        reaches this tensor, with operations recorded only under create_graph, and must not start a
        pass of its own.

        Returns:
            A handle whose ``remove()`` ends it; also a context manager.

        Raises:
            RuntimeError: for a tensor that does not require a gradient.
        """
        return register_hook(self, hook)

    def retain_grad(self: Any) -> None:
        """Make ``backward()`` store a ``.grad`` here too, though this is not a leaf.

        Raises:
            RuntimeError: for a tensor that does not require a gradient.
        """
        retain_grad(self)

    @property
    def retains_grad(self: Any) -> bool:
        """Whether :meth:`retain_grad` was called on this result."""
        hooks = getattr(self, "_hooks", None)
        return hooks is not None and bool(hooks.retains_grad)

    def detach(self: Any) -> Tensor:
        """The same values without a graph.

        As ``torch.Tensor.detach`` for a leaf, whose storage is shared; the storage of a recorded
        result ends with its step, so its values are copied.
        """
        detached: Tensor = self._context.make(lib.tt_detach, self._handle)
        return detached

    def _retained_grad(self: Any) -> Any:
        """The gradient that :meth:`retain_grad` kept; NotImplemented where it was not called."""
        return self._hooks.grad if self._hooks.retains_grad else NotImplemented

    def _forget_retained_grad(self: Any) -> bool:
        if self._hooks.retains_grad:
            self._hooks.grad = None
        return bool(self._hooks.retains_grad)
