"""Every call by which a run's files are changed, numbered, so that a fault can be put at each.

with Intercept(act):        # act(call) is asked instead of every call, and usually does call.do()
    train.main(argv)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tinytape import _files
from tinytape.training import replaced, run_folder

NAMES = ("mkdir", "open", "write", "fsync", "close", "rename", "replace")


@dataclass
class Call:
    """One call on its way to the system."""

    number: int  # from 0, in the order in which they come
    name: str  # one of NAMES
    path: str  # of the file, also where the call has only its descriptor
    do: Callable[[], Any] = field(repr=False)
    do_half: Callable[[], Any] | None = field(repr=False, default=None)  # of a write

    def fail(self, code: int) -> OSError:
        """What the system raises for this call: calls with a descriptor do not name the file."""
        names_file = self.name in ("mkdir", "open", "rename", "replace")
        return OSError(code, os.strerror(code), *([self.path] if names_file else []))


class Intercept:
    """While open, the calls of the modules that change a run's files go through ``act``."""

    def __init__(self, act: Callable[[Call], Any] = lambda call: call.do()) -> None:
        self.calls: list[Call] = []
        self._act = act
        self._paths: dict[int, str] = {}  # of the open descriptors
        self._stack = ExitStack()

    def __enter__(self) -> Intercept:
        for module in (_files, run_folder, replaced):
            self._stack.enter_context(patch.object(module, "os", _System(self)))
        # pathlib reaches the system in its own way.
        for name in ("mkdir", "rename"):
            self._stack.enter_context(patch.object(Path, name, self._method(name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _met(self, name: str, path: str, do: Callable[[], Any], part: Any = None) -> Any:
        call = Call(len(self.calls), name, path, do, part)
        self.calls.append(call)
        return self._act(call)

    def _method(self, name: str) -> Callable[..., Any]:
        real, intercept = getattr(Path, name), self

        def method(path: Path, *args: Any, **named: Any) -> Any:
            if name == "mkdir" and path.is_dir():
                return real(path, *args, **named)  # nothing to make, so nothing to fail
            return intercept._met(name, str(path), lambda: real(path, *args, **named))

        return method

    def function(self, name: str) -> Callable[..., Any]:
        """``os.NAME`` as a call that is intercepted."""
        real = getattr(os, name)

        def opening(path: Any, flags: int, *args: Any) -> int:
            def do() -> int:
                descriptor: int = real(path, flags, *args)
                self._paths[descriptor] = os.fspath(path)
                return descriptor

            if not flags & (os.O_WRONLY | os.O_RDWR) and not os.path.isdir(path):
                return do()  # to read a file changes nothing
            descriptor: int = self._met(name, os.fspath(path), do)
            return descriptor

        def writing(descriptor: int, data: Any) -> int:
            path = self._paths.get(descriptor, "?")
            count: int = self._met(
                name,
                path,
                lambda: real(descriptor, data),
                lambda: real(descriptor, data[: (len(data) + 1) // 2]),
            )
            return count

        def by_descriptor(descriptor: int) -> None:
            self._met(name, self._paths.get(descriptor, "?"), lambda: real(descriptor))

        def by_path(path: Any, *args: Any, **named: Any) -> None:
            self._met(name, os.fspath(path), lambda: real(path, *args, **named))

        special = {"open": opening, "write": writing, "fsync": by_descriptor}
        special["close"] = by_descriptor
        return special.get(name, by_path)


class _System:
    """Stands in for the module ``os``."""

    def __init__(self, intercept: Intercept) -> None:
        self._intercept = intercept

    def __getattr__(self, name: str) -> Any:
        return self._intercept.function(name) if name in NAMES else getattr(os, name)


@contextmanager
def dying_at(number: int, moment: str) -> Iterator[None]:
    """SIGKILL this process at a call: ``before`` it, ``after`` it, or ``half`` way through."""

    def act(call: Call) -> Any:
        if call.number != number:
            return call.do()
        if moment == "after":
            call.do()
        if moment == "half" and call.do_half is not None:
            call.do_half()
        os.kill(os.getpid(), 9)

    with Intercept(act):
        yield
