"""Element types, and numpy's rules for them as ``torch.tensor`` reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytape._ffi import lib
from tinytape.errors import DTypeError


class dtype:
    """An element type: :data:`float32`, :data:`float64` or :data:`int64`."""

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
        return self.name  # a type is one object: copies and pickles refer to it by name


float32 = dtype("float32", lib.TT_FLOAT32)
float64 = dtype("float64", lib.TT_FLOAT64)
int64 = dtype("int64", lib.TT_INT64)

BY_CODE = {d.code: d for d in (float32, float64, int64)}
_BY_NUMPY = {d.numpy: d for d in (float32, float64, int64)}


def from_numpy_dtype(given: np.dtype[Any]) -> dtype:
    """The type that holds a numpy type's values exactly; smaller integers become int64.

    Raises:
        DTypeError: when there is none.
    """
    native = given.newbyteorder("=")
    if native in _BY_NUMPY:
        return _BY_NUMPY[native]
    if given.kind in "iu" and given.itemsize < 8:
        return int64
    raise DTypeError(
        f"dtype {given} is not supported: expected float32, float64 or an integer that fits int64"
    )


def _first_leaf(data: Any) -> Any:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def as_array(data: Any, wanted: dtype | None) -> tuple[np.ndarray[Any, Any], dtype]:
    """Data as a C-contiguous array in native byte order, with its type.

    As in PyTorch, Python floats become float32, Python integers int64; numpy keeps its type.

    Raises:
        DTypeError: for data of a type that no tensor can hold.
    """
    if wanted is not None and not isinstance(wanted, dtype):
        raise DTypeError(f"dtype must be tinytape.float32, float64 or int64, got {wanted!r}")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"tensor: the data has no regular shape: {error}") from None
    if wanted is None:
        leaf = _first_leaf(data)
        from_python = not hasattr(leaf, "dtype")
        wanted = (
            float32 if from_python and array.dtype == np.float64 else from_numpy_dtype(array.dtype)
        )
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"tensor: data of dtype {array.dtype} is not supported")
    return np.ascontiguousarray(array, dtype=wanted.numpy).reshape(array.shape), wanted
