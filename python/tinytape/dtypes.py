"""Element types, and numpy's rules for them as ``torch.tensor`` reads them.

>>> tt.float32.itemsize, tt.int8.most, tt.float64.is_floating_point
(4, 127, True)
>>> (tt.tensor([1]) + tt.tensor([0.5])).dtype
tinytape.float32
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tinytape._ffi import lib
from tinytape.errors import DTypeError, NumberError, ShapeError


class dtype:
    """An element type, such as :data:`float32`, :data:`int64` or :data:`bool_`.

    Its values, infinities apart, lie from ``least`` to ``most``.
    """

    __slots__ = ("code", "is_floating_point", "itemsize", "least", "most", "name", "numpy")

    def __init__(self, name: str, code: int) -> None:
        self.name = name
        self.code = code
        self.numpy = np.dtype(name)
        self.itemsize = self.numpy.itemsize
        self.is_floating_point = self.numpy.kind == "f"
        if self.is_floating_point:
            self.most: float = float(np.finfo(self.numpy).max)
            self.least: float = -self.most
        else:
            info = np.iinfo(self.numpy) if name != "bool" else None
            self.least, self.most = (int(info.min), int(info.max)) if info else (0, 1)

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


def from_numpy_dtype(given: np.dtype[Any], name: str = "tensor") -> dtype:
    """The type that is the same as a numpy type, in whatever byte order.

    Raises:
        DTypeError: when there is none.
    """
    native = given.newbyteorder("=")
    if native in _BY_NUMPY:
        return _BY_NUMPY[native]
    names = ", ".join(d.name for d in _ALL)
    raise DTypeError(f"{name}: dtype {given} is not supported: expected one of {names}")


def promote(a: dtype, b: dtype) -> dtype:
    """The type that holds the values of both; as ``torch.promote_types``."""
    if {a, b} == {uint8, int8}:
        return int16
    return max(a, b, key=_RANKED.index)


def can_cast(given: dtype, to: dtype) -> bool:
    """Whether a result of one type may be stored in place in another; as ``torch.can_cast``."""
    return given is to or to.is_floating_point or not (given.is_floating_point or to is bool_)


_RANKED = (bool_, uint8, int8, int16, int32, int64, float32, float64)
_PYTHON = {bool: bool_, int: int64, float: float32}


def infer(data: Any) -> dtype | None:
    """The type that ``torch.tensor`` gives to data; None where numpy has to find it.

    Raises:
        DTypeError: for data in numpy's types that no tensor can hold.
    """
    kind = getattr(data, "dtype", None)
    if isinstance(kind, dtype):
        return kind
    if isinstance(kind, np.dtype):
        return from_numpy_dtype(kind) if kind.kind in "fiub" else None
    if isinstance(data, (list, tuple)):
        types = set(map(type, data))
        plain = types <= _PYTHON.keys()
        found = {_PYTHON[t] for t in types} if plain else {infer(x) for x in data}
        known = [kind for kind in found if kind is not None]
        if len(known) < len(found):
            return None
        return functools.reduce(promote, known) if known else float32
    return next((kind for python, kind in _PYTHON.items() if isinstance(data, python)), None)


def check_number(number: float, kind: dtype, name: str, strictly: bool = False) -> None:
    """Refuse a number that a type cannot hold, by PyTorch's rule for a number that is stored.

    Integers take a float without its fraction, bool takes anything. A negative integer is taken by
    uint8 if one byte holds it with its sign (-1 becomes 255); not ``strictly``.

    Raises:
        NumberError: for such a number.
    """
    if kind.is_floating_point:  # an infinity and NaN are numbers of it
        fits = not kind.most < abs(number) < math.inf
    elif isinstance(number, float):
        fits = kind is bool_ or kind.least <= number < kind.most + 1
    else:
        least = kind.least if strictly or kind.least else -kind.most
        fits = kind is bool_ or least <= number <= kind.most
    if not fits:
        raise does_not_fit(number, kind, name)


def does_not_fit(number: float, kind: dtype, name: str) -> NumberError:
    """The error that says that a number does not fit into a type."""
    long = isinstance(number, int) and number.bit_length() > 1000
    shown = f"an integer of {int(number).bit_length()} bits" if long else str(number)
    return NumberError(f"{name}: {shown} does not fit into {kind.name}")


def in_common(kind: dtype, *numbers: float) -> dtype:
    """The type in which a tensor of a type meets plain numbers: bool, integer and float rank."""
    for number in numbers:
        if kind.is_floating_point or isinstance(number, bool):
            continue
        if isinstance(number, float):
            kind = float32
        elif kind is bool_:
            kind = int64
    return kind


def _numbers(data: Any, wanted: dtype | None, name: str) -> np.ndarray[Any, Any]:
    """Data as an array of numbers or bools."""
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"{name}: the data has no regular shape: {error}") from None
    if array.dtype.kind == "O" and array.size and all(isinstance(x, int) for x in array.flat):
        return _of_long_integers(array, wanted or int64, name)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{name}: data of dtype {array.dtype} is not supported")
    return array


def _of_long_integers(
    array: np.ndarray[Any, Any], wanted: dtype, name: str
) -> np.ndarray[Any, Any]:
    """Python's integers, one of which at least has more than 64 bits."""
    if wanted is bool_:
        return array.astype(np.bool_)
    kind = wanted if wanted.is_floating_point else int64
    for number in array.flat:
        check_number(number, kind, name)
    return array.astype(kind.numpy)


def as_array(
    data: Any, wanted: dtype | None, name: str = "tensor"
) -> tuple[np.ndarray[Any, Any], dtype]:
    """Data as a C-contiguous array in native byte order, with its type.

    As in PyTorch, Python floats become float32, integers int64 and booleans bool; numpy's arrays
    and numbers, and tensors, keep their type; mixed types in a list are promoted.

    Raises:
        DTypeError: for data of a type that no tensor can hold.
        NumberError: for a number that the integers asked for do not hold.
        ShapeError: for a list that is ragged.
    """
    if wanted is not None:
        check_dtype(wanted, name)
    if type(data) is np.ndarray:
        kind = _BY_NUMPY.get(data.dtype)
        if kind is not None and wanted in (None, kind) and data.flags.c_contiguous:
            return data, kind
    array = _numbers(data, wanted, name)
    if wanted is None:
        wanted = infer(data) or from_numpy_dtype(array.dtype)
        if array.dtype == np.uint64:
            wanted = from_numpy_dtype(array.dtype)  # refused: a Python integer beyond int64
    # Arrays and tensors are converted, and wrap around; a float32 of plain numbers may overflow.
    plain = isinstance(data, np.generic) or not hasattr(data, "dtype")
    if plain and array.size and not wanted.is_floating_point:
        for extreme in (array.min(), array.max()):
            check_number(extreme.item(), wanted, name)
    return to_numpy_dtype(array, wanted), wanted


def to_numpy_dtype(array: np.ndarray[Any, Any], wanted: dtype) -> np.ndarray[Any, Any]:
    """A C-contiguous array of a type, of the same shape."""
    if array.dtype == wanted.numpy and array.flags.c_contiguous:
        return array
    # A NaN or infinity becomes some integer, and a number too large for float32 infinity.
    with np.errstate(invalid="ignore", over="ignore"):
        dense = np.ascontiguousarray(array, dtype=wanted.numpy)
    return np.reshape(dense, array.shape)
