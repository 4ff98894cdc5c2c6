"""Element types, and numpy's rules for them as ``torch.tensor`` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytape._ffi import lib
from tinytape.errors import DTypeError


class dtype:
    """An element type, such as :data:`float32`, :data:`int64` or :data:`bool_`."""

    __slots__ = ("code", "is_floating_point", "itemsize", "name", "numpy")

    def __init__(self, name: str, code: int) -> None:
        self.name = name
        self.code = code
        self.numpy = np.dtype(name)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = self.numpy.kind == "f"

    def __repr__(self) -> str:
        return f"tinytape.{self.name}"

    def __reduce__(self) -> str:
        # A type is one object: copies and pickles refer to it by its name in this module.
        return "bool_" if self.name == "bool" else self.name


float32 = dtype("float32", lib.TT_FLOAT32)
float64 = dtype("float64", lib.TT_FLOAT64)
int64 = dtype("int64", lib.TT_INT64)
int32 = dtype("int32", lib.TT_INT32)
int16 = dtype("int16", lib.TT_INT16)
int8 = dtype("int8", lib.TT_INT8)
uint8 = dtype("uint8", lib.TT_UINT8)
bool_ = dtype("bool", lib.TT_BOOL)

_ALL = (float32, float64, int64, int32, int16, int8, uint8, bool_)
BY_CODE = {d.code: d for d in _ALL}
_BY_NUMPY = {d.numpy: d for d in _ALL}


def check_dtype(given: Any, function: str) -> dtype:
    """The given type, if it is one of tinytape's.

    Raises:
        DTypeError: otherwise.
    """
    if not isinstance(given, dtype):
        raise DTypeError(
            f"{function}: dtype must be one of tinytape's, such as tinytape.float32, got {given!r}"
        )
    return given


def from_numpy_dtype(given: np.dtype[Any]) -> dtype:
    """The type that is the same as a numpy type, in whatever byte order.

    Raises:
        DTypeError: when there is none.
    """
    native = given.newbyteorder("=")
    if native in _BY_NUMPY:
        return _BY_NUMPY[native]
    names = ", ".join(d.name for d in _ALL)
    raise DTypeError(f"dtype {given} is not supported: expected one of {names}")


def _first_leaf(data: Any) -> Any:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def as_array(data: Any, wanted: dtype | None) -> tuple[np.ndarray[Any, Any], dtype]:
    """Data as a C-contiguous array in native byte order, with its type.

    As in PyTorch, Python floats become float32, integers int64 and booleans bool; numpy keeps its
    type.

    Raises:
        DTypeError: for data of a type that no tensor can hold.
    """
    if wanted is not None:
        check_dtype(wanted, "tensor")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: the data has no regular shape: {error}") from None
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: data of dtype {array.dtype} is not supported")
    if wanted is None:
        from_python = not hasattr(_first_leaf(data), "dtype")
        python_float = from_python and array.dtype == np.float64
        wanted = float32 if python_float else from_numpy_dtype(array.dtype)
    return to_numpy_dtype(array, wanted), wanted


def to_numpy_dtype(array: np.ndarray[Any, Any], wanted: dtype) -> np.ndarray[Any, Any]:
    """A C-contiguous array of a type, of the same shape."""
    # A NaN or infinity becomes some integer, and what is too large for float32 infinity.
    with np.errstate(invalid="ignore", over="ignore"):
        dense = np.ascontiguousarray(array, dtype=wanted.numpy)
    return np.reshape(dense, array.shape)
