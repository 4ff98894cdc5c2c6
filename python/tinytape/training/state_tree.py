"""State as arrays and numbers: nested dicts and lists split into safetensors and JSON, and joined.

An optimiser's state is a tree whose leaves are tensors and plain numbers. Arrays go to one flat
mapping under their dotted path; in the JSON tree a reference stands in their place.

>>> import numpy as np
>>> from tinytape.training.state_tree import join_state, split_state
>>> tree, arrays = split_state({"step": 3, "m": np.zeros(2)}, "optimizer")
>>> tree, list(arrays)
({'step': 3, 'm': {'$array': 'optimizer.m'}}, ['optimizer.m'])
>>> join_state(tree, arrays)["m"].shape
(2,)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..models.spec.state_types import REFERENCE, is_reference
from ..tensor import Tensor
from .arrays import Array
from .errors import CheckpointError


def split_state(tree: Any, prefix: str) -> tuple[Any, dict[str, Array]]:
    """Return ``tree`` with its arrays replaced by references, and the arrays by dotted path.

    Tensors are not copied: their values are read later.

    Raises:
        TypeError: a leaf that is neither an array, a tensor, a number, a string, a bool nor None.
        ValueError: two arrays of one path, such as that of ``{"a.b": x, "a": {"b": y}}``, or a
            name that stands for a reference.
    """
    arrays: dict[str, Array] = {}
    return _split(tree, prefix, arrays), arrays


def _split(node: Any, path: str, arrays: dict[str, Array]) -> Any:
    # No closure: one that calls itself is a cycle, and would keep the tensors until the next
    # garbage collection.
    if isinstance(node, np.ndarray | Tensor):
        if path in arrays:
            raise ArgumentError(f"state {path}: two arrays would have this name")
        arrays[path] = node
        return {REFERENCE: path}
    if isinstance(node, Mapping):
        if not all(isinstance(key, str) for key in node):
            raise TypeError(f"state {path}: expected names as keys, got {list(node)!r}")
        if REFERENCE in node:
            raise ArgumentError(f"state {path}: {REFERENCE} is no name of a value")
        return {key: _split(value, f"{path}.{key}", arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_split(value, f"{path}.{i}", arrays) for i, value in enumerate(node)]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"state {path}: cannot save a {type(node).__name__}")


def references(tree: Any) -> Iterator[str]:
    """The arrays that a JSON tree refers to."""
    if is_reference(tree):
        yield tree[REFERENCE]
    elif isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from references(child)


def join_state(tree: Any, arrays: Mapping[str, Array]) -> Any:
    """The inverse of ``split_state``: references become arrays again (tuples become lists).

    Raises:
        CheckpointError: a reference to an array that is not there.
    """
    if is_reference(tree):
        name = tree[REFERENCE]
        if name not in arrays:
            raise CheckpointError(f"the training state refers to {name!r}, which is not there")
        return arrays[name]
    if isinstance(tree, dict):
        return {key: join_state(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [join_state(value, arrays) for value in tree]
    return tree
