"""Parameter: a tensor that a module trains.

>>> weight = tt.nn.Parameter(tt.zeros(2))
>>> weight.requires_grad, weight.is_leaf
(True, True)
"""

from __future__ import annotations

from .._ffi import check, lib
from .._shapes import shapes_only
from ..autograd.hooks import hooks_of
from ..dtypes import dtype
from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf that wants a gradient, and that a Module registers when it is assigned to it.

    As ``torch.nn.Parameter``, but its data is always copied.

    Args:
        data: its values are copied into memory that is counted as parameters.
        requires_grad: whether a gradient is wanted.

    Attributes:
        name: the dotted name that ``Module.named_parameters()`` gave it last, None before that.
            Optimisers key their state by it.
    """

    __slots__ = ("name",)

    _is_parameter = True

    name: str | None

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> Parameter:
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: expected a Tensor, got {type(data).__name__}")
        context = data._context
        if shapes_only.active:
            self: Parameter = context.make(lib.tt_detach, data._handle, cls=cls)
        else:
            self = context.make(lib.tt_copy_to_pool, data._handle, lib.TT_POOL_PARAM, cls=cls)
        self.name = None
        self.requires_grad_(requires_grad)
        return self

    def learn_name(self, name: str) -> None:
        """Take a first name, or a fuller one: "weight" becomes "head.weight", never the reverse."""
        if self.name is None or name.endswith(f".{self.name}"):
            self.name = name

    def convert_(self, wanted: dtype) -> None:
        """Change the type in place, of the gradient too; this object and its hooks stay the same.

        A backward pass through results that were recorded with the old type is refused: its
        gradient would be lost.
        """
        if wanted is self.dtype:
            return
        grad = self.grad
        converted = Parameter(self.detach().to(wanted), self.requires_grad)
        if grad is not None:
            converted.grad = grad.detach().to(wanted)
        hooks = getattr(self, "_hooks", None)
        self._exchange(converted)  # what this object held goes with the other one
        check(lib.tt_retire(self._context.pointer, converted._handle))
        if hooks is not None:
            del self._hooks
            hooks_of(self).functions, hooks.functions = hooks.functions, {}

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
