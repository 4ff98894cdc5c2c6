"""The only importer of the compiled core; turns its status codes into exceptions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, NoReturn

from tinytape import _core, errors
from tinytape._caller_lines import describe
from tinytape._core import ffi, lib

if TYPE_CHECKING:
    import tinytape._binding as binding

__all__ = ["OPS", "WITH_ATTRIBUTES", "binding", "check", "ffi", "lib", "raise_last", "text"]


def _load_binding() -> Any:
    """tinytape._binding, which is in the same file as tinytape._core."""
    name = "tinytape._binding"
    spec = spec_from_file_location(name, _core.__file__)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if not TYPE_CHECKING:
    binding = _load_binding()

_EXCEPTIONS: dict[int, type[errors.TinytapeError]] = {
    lib.TT_ERR_ARG: errors.ArgumentError,
    lib.TT_ERR_SHAPE: errors.ShapeError,
    lib.TT_ERR_DTYPE: errors.DTypeError,
    lib.TT_ERR_INDEX: errors.OutOfRangeError,
    lib.TT_ERR_NOMEM: errors.OutOfMemoryError,
    lib.TT_ERR_STALE: errors.StaleTensorError,
    lib.TT_ERR_STATE: errors.TapeStateError,
    lib.TT_ERR_THREAD: errors.ThreadError,
    lib.TT_ERR_NONFINITE: errors.NonFiniteError,
    lib.TT_ERR_INTERNAL: errors.InternalError,
}


def text(chars: object) -> str:
    """A C string of the library as str."""
    return str(ffi.string(chars).decode("utf-8", "replace"))


def raise_last() -> NoReturn:
    """Raise the calling thread's last recorded failure."""
    kind = _EXCEPTIONS.get(lib.tt_error_code(), errors.InternalError)
    message = f"{text(lib.tt_error_op())}: {text(lib.tt_error_message())}"
    origin = lib.tt_error_origin()
    if origin:
        message += describe(origin)
    raise kind(message)


def check(status: int) -> None:
    """Raise unless status is TT_OK."""
    if status:
        raise_last()


OPS: dict[str, int] = {text(lib.tt_op_name(i)): i for i in range(lib.tt_op_count())}


def _with_attributes(name: str, number: int) -> Callable[..., Any]:
    """A function of the inputs of an operation and, by name, of all its attributes.

    Each is compiled for its names: ``lambda inputs, *, seed, stream, offset, p: apply(23, inputs,
    (seed, stream, offset), (p,))``. Any other way of sorting arguments takes longer than many an
    operation does.
    """
    ints, _, reals = (kind.split() for kind in text(lib.tt_op_attributes(number)).partition("|"))
    given = ", ".join(["inputs", "*", *(x.removesuffix("[]") for x in ints), *reals])
    in_order = ["*" + x.removesuffix("[]") if x.endswith("[]") else x for x in ints]
    values = ", ".join(f"({''.join(x + ', ' for x in kind)})" for kind in (in_order, reals))
    source = compile(f"lambda {given}: apply({number}, inputs, {values})", __file__, "eval")
    function: Callable[..., Any] = eval(source, {"__name__": __name__, "apply": binding.apply})
    function.__name__ = function.__qualname__ = name
    return function


def _compile_and_call(name: str, /, *args: Any, **attributes: Any) -> Any:
    """The first call of an operation with attributes. Compiling all would slow down the import."""
    function = WITH_ATTRIBUTES[name] = _with_attributes(name, OPS[name])
    return function(*args, **attributes)


#: Of each operation that has attributes, a function that takes them by the names that its C file
#: gives them: ``WITH_ATTRIBUTES["slice"]((x,), axis=1, start=0, step=1, length=3)``.
WITH_ATTRIBUTES: dict[str, Callable[..., Any]] = {
    name: partial(_compile_and_call, name)
    for name, number in OPS.items()
    if lib.tt_op_attributes(number)[0] != b"\0"
}
