"""Switching the recording of operations on and off.

>>> x = tt.tensor(2.0, requires_grad=True)
>>> with tt.no_grad():
...     y = x * x
>>> y.requires_grad, tt.is_grad_enabled()
(False, True)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, TypeVar, cast

from tinytape._ffi import binding
from tinytape.context import current

_F = TypeVar("_F", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread; as ``torch.is_grad_enabled``."""
    return current().grad_enabled


class _GradMode(binding.Switch):
    """A ``with`` block or decorated function in which operations are recorded, or are not."""

    _anomaly = _now = False

    @property
    def mode(self) -> bool:
        """Whether operations are recorded in the block."""
        return bool(self._mode)

    def __call__(self, function: _F) -> _F:
        mode = self.mode

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(mode):
                return function(*args, **kwargs)

        return cast(_F, _generator(mode, function) if isgeneratorfunction(function) else wrapper)


def _generator(mode: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    """A generator function whose body runs in a mode, and whose caller does not."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        advance, given = body.send, None
        while True:
            try:
                with _GradMode(mode):
                    made = advance(given)
            except StopIteration as end:
                return end.value
            try:
                advance, given = body.send, (yield made)
            except GeneratorExit:
                with _GradMode(mode):
                    body.close()
                raise
            except BaseException as error:
                advance, given = body.throw, error

    return wrapper


class set_grad_enabled(_GradMode):
    """Record operations or not: from now on, or within a ``with`` block; as
    ``torch.set_grad_enabled``.
    """

    _now = True

    def __call__(self, function: _F) -> _F:
        self.__exit__()  # a decorator does not switch anything now
        return super().__call__(function)


class no_grad(_GradMode):
    """Record nothing; as ``torch.no_grad``, a ``with`` block or a decorator.

    Results then need no backward, and are freed with the last reference to them.
    """

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Record again, inside :class:`no_grad`; as ``torch.enable_grad``."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(True)
