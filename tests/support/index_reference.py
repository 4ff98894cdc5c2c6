"""x[index] by PyTorch's rules, written in numpy, and indices of every kind to test it with.

numpy differs in one rule: among arrays, it treats an integer, or an array without dimensions, as an
array. PyTorch and tinytape treat all of these as integers, which are applied first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]


def _plain(part: Any) -> Any:
    zero = isinstance(part, (np.ndarray, np.generic)) and part.ndim == 0
    if zero or not isinstance(part, list):
        return part.item() if zero else part
    return np.asarray(part) if part else np.zeros(0, np.int64)


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def reference(a: Array, index: Any) -> Array:
    """a[index]; integers, slices and None come first, then all arrays, masks and bools together."""
    parts = [_plain(p) for p in (index if isinstance(index, tuple) else (index,))]
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (a.ndim - sum(map(_axes_used, parts)))
    first: list[Any] = []
    then: list[Any] = []
    for part in parts:
        if isinstance(part, bool):
            first.append(None)
            then.append(np.zeros(int(part), np.int64))
        elif isinstance(part, np.ndarray):
            first += [slice(None)] * _axes_used(part)
            then.append(part)
        else:
            first.append(part)
            then += [] if isinstance(part, int) else [slice(None)]
    return a[tuple(first)][tuple(then)]


SHAPES = ((2, 3, 4), (3, 2), (4,), (2, 3, 1, 4))
NARROW = (np.int64, np.int32, np.int16, np.int8)


@st.composite
def indices(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index that fits it."""
    sizes = draw(st.sampled_from(SHAPES))
    common = draw(st.sampled_from([(3,), (1, 3), (2, 1), (1,), (2, 3)]))  # of the arrays

    def part(size: int) -> Any:
        kind = draw(st.sampled_from(["int", "scalar", "zero", "slice", "array", "array", "mask"]))
        place = draw(st.integers(-size, size - 1))
        if kind == "int":
            return place
        if kind == "scalar":
            return np.int64(place)
        if kind == "zero":
            return np.array(place, draw(st.sampled_from(NARROW)))
        if kind == "slice":
            bound = st.none() | st.integers(-size - 1, size + 1)
            return slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3)))
        mask = np.arange(size) < common[-1]
        if kind == "mask" and mask.sum() == common[-1]:
            return mask
        seed = draw(st.integers(0, 99))
        return np.random.default_rng(seed).integers(-size, size, common)

    parts: list[Any] = []
    for size in sizes:
        if draw(st.integers(0, 4)) == 0:
            parts.append(draw(st.sampled_from([None, True, False, np.array(True)])))
        parts.append(part(size))
    end = draw(st.integers(0, 2))
    if end == 0:  # nothing is said of the last axes
        parts = parts[: draw(st.integers(0, len(parts)))]
    elif end == 1:
        parts[draw(st.integers(0, len(parts) - 1))] = Ellipsis
    index = parts[0] if len(parts) == 1 else tuple(parts)
    try:
        reference(np.empty(sizes), index)
    except IndexError:  # False among arrays of three places
        reject()
    return sizes, index
