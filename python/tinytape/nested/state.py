"""The state that a nested model carries from batch to batch, for each row of the batch.

The LSTM's (h, c), the leaky memories of the slower levels, and counters. As arrays by name::

    level1_fast.h, level1_fast.c    (1, B, C)
    level2_medium.memory            (B, C)      for each level that has one
    steps_since_reset, total_resets, rows_reset     int64, without dimensions

The floats are of the model's dtype. The counters: batches since all rows were reset last, how often
that was, and how often a single row was reset, by ``reset_rows`` or at a boundary. Before the first
batch, and after a reset without a batch size, there is no h, c and memory.

>>> from tinytape.nested.state import CarriedState
>>> state = CarriedState(4, ("level2_medium",))
>>> state.begin(2, tt.float32)
>>> state.batch_size, state.memory("level2_medium").shape
(2, (2, 4))
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..creation import tensor, zeros
from ..dtypes import dtype as DType
from ..errors import ArgumentError
from ..functional import cat
from ..nn.state import MOST_COUNT, StateDictError
from ..tensor import Tensor

Array = np.ndarray[Any, Any]
COUNTERS = ("steps_since_reset", "total_resets", "rows_reset")
_H, _C = "level1_fast.h", "level1_fast.c"


def _memory_key(level: str) -> str:
    return f"{level}.memory"


class CarriedState:
    """The tensors and the counters; ``memory_levels`` are the levels that have a memory."""

    def __init__(self, input_size: int, memory_levels: tuple[str, ...]) -> None:
        self.input_size = input_size
        self.memory_levels = memory_levels
        #: By the names above; empty where there is none. In each the axis before the last is B.
        self.tensors: dict[str, Tensor] = {}
        self.steps_since_reset = 0
        self.total_resets = 0
        self.rows_reset = 0

    @property
    def batch_size(self) -> int | None:
        """B, or None where there is no state."""
        return self.tensors[_H].shape[1] if self.tensors else None

    @property
    def lstm(self) -> tuple[Tensor, Tensor]:
        """(h, c), both (1, B, C)."""
        return self.tensors[_H], self.tensors[_C]

    @lstm.setter
    def lstm(self, state: tuple[Tensor, Tensor]) -> None:
        self.tensors[_H], self.tensors[_C] = state

    def memory(self, level: str) -> Tensor:
        """The memory of a level, (B, C)."""
        return self.tensors[_memory_key(level)]

    def remember(self, level: str, memory: Tensor) -> None:
        """Replace the memory (B, C) of a level."""
        self.tensors[_memory_key(level)] = memory

    def _shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
            (_H, _C), (1, batch_size, self.input_size)
        )
        shapes |= {_memory_key(k): (batch_size, self.input_size) for k in self.memory_levels}
        return shapes

    @contextmanager
    def unless_refused(self) -> Iterator[None]:
        """A ``with`` block whose changes are undone when an exception leaves it."""
        before = dict(vars(self), tensors=dict(self.tensors))
        try:
            yield
        except BaseException:
            vars(self).update(before)
            raise

    def begin(self, batch_size: int | None, dtype: DType) -> None:
        """Zeros for a batch, or nothing."""
        shapes = {} if batch_size is None else self._shapes(batch_size)
        self.tensors = {name: zeros(*shape, dtype=dtype) for name, shape in shapes.items()}

    def reset(self, batch_size: int | None, dtype: DType) -> None:
        """Forget all rows, and count it: zeros for a batch of this size, or nothing for None."""
        self.begin(batch_size, dtype)
        self.steps_since_reset = 0
        self.total_resets += 1

    def fit(self, batch_size: int, dtype: DType) -> None:
        """Have state for a batch: the first rows stay, new rows are zeros."""
        if not self.tensors:
            self.begin(batch_size, dtype)
            return
        for name, x in self.tensors.items():
            if x.dtype is not dtype:
                x = x.to(dtype)
            axis = x.ndim - 2
            have = x.shape[axis]
            if have > batch_size:
                x = x.narrow(axis, 0, batch_size)
            elif have < batch_size:
                shape = list(x.shape)
                shape[axis] = batch_size - have
                x = cat([x, zeros(*shape, dtype=dtype)], axis)
            self.tensors[name] = x

    def clear_rows(self, mask: Array) -> None:
        """Make the rows that are True zero."""
        rows = tensor(mask)[:, None]  # broadcast over C and over the LSTM's layers
        self.tensors = {name: x.masked_fill(rows, 0.0) for name, x in self.tensors.items()}

    def snapshot(self) -> CarriedState:
        """The same tensors and counts, which do not change with these."""
        same = copy.copy(self)
        same.tensors = dict(self.tensors)
        return same

    def detach(self) -> None:
        """Cut the tensors from the graph that made them; their values stay."""
        self.tensors = {name: x.detach() for name, x in self.tensors.items()}

    def info(self) -> dict[str, Any]:
        """Sizes, norms and counters, for :meth:`NestedModelWithState.get_state_info`."""
        found: dict[str, Any] = {"has_states": bool(self.tensors)}
        found |= {name: getattr(self, name) for name in COUNTERS}
        if self.tensors:
            values = {name: x.numpy() for name, x in self.tensors.items()}
            norms = {name: float(np.linalg.norm(x)) for name, x in values.items()}
            found |= {
                "batch_size": self.batch_size,
                "hidden_shape": values[_H].shape,
                "hidden_norm": norms[_H],
                "cell_norm": norms[_C],
                "memory_norms": {k: norms[_memory_key(k)] for k in self.memory_levels},
            }
        return found

    def arrays(self) -> dict[str, Array]:
        """Everything, copied, by the names at the top of this file."""
        arrays = {name: x.numpy() for name, x in self.tensors.items()}
        return arrays | {name: np.array(getattr(self, name), np.int64) for name in COUNTERS}

    def load(self, arrays: Mapping[str, Any], dtype: DType) -> None:
        """Take over what :meth:`arrays` gave; everything is compared before anything changes.

        Raises:
            StateDictError: names, shapes or types that are not this model's.
        """
        given = {name: np.asarray(x) for name, x in arrays.items()}
        problems = [f"missing {name}" for name in COUNTERS if name not in given]
        for name in COUNTERS:
            x = given.get(name)
            if x is not None and not (
                x.shape == () and x.dtype.kind in "iu" and 0 <= int(x) <= MOST_COUNT
            ):
                problems.append(f"{name}: expected a count, got {x.dtype} of shape {x.shape}")
        states = {name: x for name, x in given.items() if name not in COUNTERS}
        if states:
            rows = states[_H].shape[1] if _H in states and states[_H].ndim == 3 else 0
            shapes = self._shapes(rows)
            problems += [f"missing {name}" for name in shapes if name not in states]
            problems += [f"unexpected {name}" for name in states if name not in shapes]
            for name in shapes.keys() & states.keys():
                x = states[name]
                if x.shape != shapes[name] or x.dtype.kind != "f":
                    problems.append(
                        f"{name}: expected floats of shape {shapes[name]}, got {x.dtype} of shape "
                        f"{x.shape}"
                    )
        if problems:
            raise StateDictError("load_state_arrays: " + "; ".join(sorted(problems)))
        with no_grad():
            self.tensors = {name: tensor(states[name], dtype=dtype) for name in sorted(states)}
        for name in COUNTERS:
            setattr(self, name, int(given[name]))


def as_mask(who: str, mask: Any, shape: tuple[int, ...], what: str) -> Array:
    """A bool array of this shape, from a Tensor, an array or lists.

    Raises:
        ArgumentError: other values than booleans, or another shape.
    """
    array = mask.numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != shape:
        raise ArgumentError(
            f"{who}: expected {what} to be bool of shape {shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array
