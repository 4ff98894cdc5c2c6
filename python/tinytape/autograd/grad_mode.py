"""Switching the record on and off."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from tinytape.context import current

_F = TypeVar("_F", bound=Callable[..., Any])


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return current().grad_enabled


class _GradMode:
    """A ``with`` block or decorated function in which operations are recorded, or are not."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(is_grad_enabled())
        current().set_grad_enabled(self.mode)

    def __exit__(self, *exc_info: object) -> None:
        current().set_grad_enabled(self._before.pop())

    def __call__(self, function: _F) -> _F:
        mode = self.mode

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with _GradMode(mode):
                return function(*args, **kwargs)

        return cast(_F, wrapper)


class set_grad_enabled(_GradMode):
    """Record operations or not: from now on, or within a ``with`` block."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self._before.append(is_grad_enabled())
        current().set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        current().set_grad_enabled(self.mode)

    def __call__(self, function: _F) -> _F:
        current().set_grad_enabled(self._before.pop())  # a decorator says nothing of now
        return super().__call__(function)


class no_grad(_GradMode):
    """Record nothing: results need no backward and are freed as soon as nobody holds them."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Record again, inside :class:`no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)

    def __init__(self) -> None:
        super().__init__(True)
