from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Self = TypeVar("Self", bound="TensorBase")

class ContextBase:
    _orphaned: bool
    _watched: bool
    def _open(self) -> int: ...

class TensorBase:
    _handle: int
    _hooks: Any  # unset until the first hook is registered
    _waiting: Any  # None once the tensor is made
    grad: Any  # a Tensor or None
    @classmethod
    def _wrap(cls: type[Self], context: ContextBase, handle: int) -> Any: ...
    def _exchange(self, other: TensorBase) -> None: ...
    @classmethod
    def _promise(cls: type[Self], values: tuple[Any, ...], /) -> Any: ...
    def _become(self, made: TensorBase, /) -> None: ...
    def _look(self) -> tuple[Any, tuple[int, ...], bool, bool, bytes]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def ndim(self) -> int: ...

def set_up(
    tensor: type[Any],
    dtypes: tuple[Any, ...],
    apply_slowly: Callable[..., Any],
    raise_last: Callable[[], Any],
    /,
) -> None: ...
def apply(
    op: int,
    inputs: Sequence[Any],
    ints: Sequence[int] = (),
    reals: Sequence[float] = (),
    /,
) -> Any: ...
def number(like: Any, value: Any, /) -> Any: ...
def handles(context: ContextBase, tensors: list[Any], /) -> bytes | None: ...
