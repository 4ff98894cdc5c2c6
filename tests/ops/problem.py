"""A drawn call made concrete: leaves, the views by which the operation sees them, aliases, values.

The gradient is then asked for with respect to the leaves, so that it has to find its way through
transposed, sliced and expanded inputs, and through one tensor that is given twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Index, Mask, Row, Shape

Array = np.ndarray[Any, Any]
STEP = 1e-5  # of central differences


@dataclass(frozen=True)
class View:
    """How an input of the operation is made from a leaf; the same for both libraries."""

    kind: str
    leaf_shape: Shape
    of_tensor: Callable[[tt.Tensor], tt.Tensor]
    of_array: Callable[[Array], Array]


def _plain(shape: Shape) -> View:
    return View("plain", shape, lambda x: x, lambda x: x)


def _turned(shape: Shape) -> View:
    order = tuple(reversed(range(len(shape))))
    return View("turned", shape[::-1], lambda x: x.permute(order), lambda x: x.transpose(order))


def _sliced(shape: Shape, axis: int, step: int) -> View:
    """Every step-th element of an axis, with something left over at both ends."""
    size = shape[axis] * step + 1
    leaf = (*shape[:axis], size, *shape[axis + 1 :])
    index = (slice(None),) * axis + (slice(1, None, step),)
    return View(f"sliced {axis}", leaf, lambda x: x[index], lambda x: x[index])


def _stretched(shape: Shape, axis: int) -> View:
    leaf = (*shape[:axis], 1, *shape[axis + 1 :])
    return View(
        f"stretched {axis}", leaf, lambda x: x.expand(shape), lambda x: np.broadcast_to(x, shape)
    )


def _view(rng: random.Random, given: Float | Index | Mask) -> View:
    shape = given.shape
    kinds = ["plain", "turned", "sliced", "stretched"]
    if isinstance(given, Float) and given.distinct:
        kinds.pop()
    kind = rng.choice(kinds)
    if kind == "plain" or not shape:
        return _plain(shape)
    if kind == "turned":
        return _turned(shape)
    axis = rng.randrange(len(shape))
    if kind == "sliced":
        return _sliced(shape, axis, rng.randint(1, 2))
    return _stretched(shape, axis)


# ---- values --------------------------------------------------------------------------------------


def _placed(x: Array, given: Float) -> Array:
    """Numbers of [0, 1) spread over what the input may be, in order."""
    ends = [given.low]
    for kink in sorted(given.kinks) if given.gap else ():
        if given.low < kink + given.gap and kink - given.gap < given.high:
            ends += [max(kink - given.gap, given.low), min(kink + given.gap, given.high)]
    ends.append(given.high)
    starts, lengths = np.array(ends[::2]), np.diff(ends)[::2]
    before = np.concatenate([[0.0], np.cumsum(lengths)])
    x = x * before[-1]
    part = np.searchsorted(before[1:-1], x, side="right")
    return np.asarray(starts[part] + (x - before[part]))


def values(rng: np.random.Generator, inputs: Sequence[tuple[Any, Shape]]) -> list[Array]:
    """An array for each (input, shape of its leaf)."""
    total = sum(math.prod(shape) for given, shape in inputs if getattr(given, "distinct", False))
    places = rng.permutation(total)  # of distinct values, each in a cell of its own
    made, taken = [], 0
    for given, shape in inputs:
        if isinstance(given, Mask):
            made.append(rng.random(shape) < 0.5)
        elif isinstance(given, Index):
            made.append(rng.integers(0, max(given.below, 1), shape))
        elif given.distinct:
            n = math.prod(shape)
            cells = places[taken : taken + n].reshape(shape)
            taken += n
            inside = rng.uniform(0.25, 0.75, shape)
            made.append(_placed((cells + inside) / total, given))
        else:
            made.append(_placed(rng.random(shape), given))
    return made


def integer_values(rng: np.random.Generator, given: Float, dtype: Any) -> Array | None:
    """The same kind of input in an integer dtype or bool; None where it has no such value."""
    low, high = math.ceil(given.low), math.floor(given.high)
    if dtype == np.bool_:
        low, high = max(low, 0), min(high, 1)
    elif np.dtype(dtype).kind == "u":
        low = max(low, 0)
    allowed = [
        v
        for v in range(low, high + 1)
        if not given.gap or all(abs(v - kink) >= given.gap for kink in given.kinks)
    ]
    return rng.choice(np.array(allowed, dtype), given.shape) if allowed else None


# ---- the problem ---------------------------------------------------------------------------------


def listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


class Problem:
    """A call with its leaves.

    Attributes:
        leaves: the arrays; floating ones are float64.
        wanted: for each leaf, whether its gradient is asked for.
        expected: what numpy says the outputs are.
        judged: the places of the outputs that a gradient is asked of.
        busy: every floating input also has a consumer that is recorded later, whose gradient
            therefore arrives first: the operation's backward has to add to it.
    """

    def __init__(self, call: Call, seed: int, plain: bool = False) -> None:
        """``plain``: every input a leaf of its own."""
        choose = random.Random(seed)
        self.call = call
        self.rng = np.random.default_rng(seed)
        self.views: list[View] = []
        self.alias: list[int] = []  # the input that each input is (itself, if nothing is shared)
        for i, given in enumerate(call.inputs):
            same = [j for j in range(i) if self.alias[j] == j and call.inputs[j] == given]
            if isinstance(given, Float) and given.distinct:
                same = []
            if same and not plain and choose.random() < 0.5:
                self.alias.append(choose.choice(same))
                self.views.append(self.views[self.alias[-1]])
            else:
                self.alias.append(i)
                self.views.append(_plain(given.shape) if plain else _view(choose, given))
        self.own = [i for i, j in enumerate(self.alias) if i == j]
        shapes = [(call.inputs[i], self.views[i].leaf_shape) for i in self.own]
        self.leaves = values(self.rng, shapes)
        self.busy = not plain and choose.random() < 0.5
        self.wanted = self._some(choose, [x.dtype.kind == "f" for x in self.leaves], plain)
        self.expected = self.reference(self.leaves)
        kept = self._some(choose, [y.dtype.kind == "f" for y in self.expected], plain)
        self.judged = [k for k, is_kept in enumerate(kept) if is_kept]

    @staticmethod
    def _some(choose: random.Random, there: list[bool], all_of_them: bool) -> list[bool]:
        """All that are there, or at least one of them."""
        if sum(there) < 2 or all_of_them or choose.random() < 0.5:
            return there
        last = choose.choice([k for k, is_there in enumerate(there) if is_there])
        return [x and (k == last or choose.random() < 0.5) for k, x in enumerate(there)]

    def __repr__(self) -> str:
        kinds = [f"{i.shape}={v.kind}" for i, v in zip(self.call.inputs, self.views, strict=True)]
        return (
            f"Problem({kinds}, alias={self.alias}, wanted={self.wanted}, judged={self.judged}, "
            f"busy={self.busy})"
        )

    # ---- numpy ----

    def seen(self, leaves: Sequence[Array]) -> dict[int, Array]:
        """The inputs that are not aliases, by their place."""
        return {i: self.views[i].of_array(x) for i, x in zip(self.own, leaves, strict=True)}

    def objective(self, leaves: Sequence[Array], cotangents: Sequence[Array]) -> float:
        """<cotangents, what ``roots`` gives>."""
        outputs = self.reference(leaves)
        values = [outputs[k] for k in self.judged]
        if self.busy:
            values += [-x for x in self.wanted_of(list(self.seen(leaves).values()))]
        return float(sum((y * c).sum() for y, c in zip(values, cotangents, strict=True)))

    def reference(self, leaves: Sequence[Array]) -> list[Array]:
        seen = self.seen(leaves)
        return [np.asarray(y) for y in listed(self.call.reference(*(seen[j] for j in self.alias)))]

    # ---- tinytape ----

    def tensors(self, dtype: tt.dtype = tt.float64) -> list[tt.Tensor]:
        """Fresh leaves."""
        kinds = {"f": dtype, "i": tt.int64, "b": getattr(tt, "bool", tt.int64)}
        return [
            tt.tensor(x, dtype=kinds[x.dtype.kind], requires_grad=wanted)
            for x, wanted in zip(self.leaves, self.wanted, strict=True)
        ]

    def run(self, leaves: Sequence[tt.Tensor]) -> list[tt.Tensor]:
        """The outputs; then, where inputs are busy, their other consumers'."""
        made = {i: self.views[i].of_tensor(x) for i, x in zip(self.own, leaves, strict=True)}
        out = listed(self.call.run(*(made[j] for j in self.alias)))
        assert len(out) == len(self.expected), self
        if self.busy:
            out += [-made[i] for i, wanted in zip(self.own, self.wanted, strict=True) if wanted]
        return out

    def roots(self, outputs: Sequence[tt.Tensor]) -> list[tt.Tensor]:
        """Of what ``run`` returned, that from which gradients flow."""
        return [outputs[k] for k in self.judged] + list(outputs[len(self.expected) :])

    def wanted_of(self, leaves: Sequence[Any]) -> list[Any]:
        return [x for x, wanted in zip(leaves, self.wanted, strict=True) if wanted]

    def like(self, arrays: Sequence[Any]) -> list[Array]:
        """Random arrays of these shapes: cotangents, weights, directions."""
        return [self.rng.standard_normal(a.shape) for a in arrays]


def draw_problem(data: Any, row: Row) -> Problem:
    """A case of the row; all else about it follows from one drawn number."""
    call = row.case(data.draw)
    return Problem(call, data.draw(st.integers(0, 2**32 - 1)))


def large_problem(row: Row, seed: int = 0) -> Problem:
    return Problem(row.large, seed, plain=True)
