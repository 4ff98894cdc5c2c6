from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Self = TypeVar("Self", bound="TensorBase")

class ContextBase:
    _orphaned: bool
    _watched: bool
    @property
    def grad_enabled(self) -> bool: ...
    @property
    def anomaly(self) -> tuple[bool, bool]: ...
    def _open(self) -> int: ...
    def _wrap(self, handle: int, /) -> Any: ...

class Switch:
    _anomaly: bool  # which setting a subclass is for: anomaly detection, or recording
    _now: bool  # whether it is switched when the object is made
    _mode: int
    def __init__(self, mode: bool, check_nan: bool = True) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exc_info: object) -> None: ...

class TensorBase:
    _handle: int
    _hooks: Any  # unset until the first hook is registered
    grad: Any  # a Tensor or None
    @classmethod
    def _wrap(cls: type[Self], context: ContextBase, handle: int) -> Any: ...
    def _exchange(self, other: TensorBase) -> None: ...
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
def set_current(function: Callable[[], ContextBase], /) -> None: ...
def backward(
    context: ContextBase,
    outputs: list[Any],
    gradients: list[Any],
    inputs: list[Any],
    retain_graph: bool,
    create_graph: bool,
    answer: Callable[[Any], tuple[str, list[Any]]],
    /,
) -> list[Any]: ...
def paused_gradient(context: ContextBase, k: int, /) -> Any: ...
def paused_tensor(context: ContextBase, i: int, /) -> Any: ...
def record(
    context: ContextBase,
    attached: dict[int, Any],
    number: int,
    function: Any,
    name: str,
    inputs: list[Any],
    kept: list[Any],
    values: list[Any],
    saved: int,
    /,
) -> tuple[Any, ...]: ...
def hold(tensor: Any, /) -> Any: ...
def release_orphans(context: ContextBase, /) -> None: ...
def forget_ended(context: ContextBase, attached: dict[int, Any], /) -> None: ...
