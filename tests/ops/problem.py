"""A drawn call made concrete: leaves, the views by which the operation sees them, aliases, values.

The gradient is then asked for with respect to the leaves, so that it has to find its way through
transposed, sliced and expanded inputs, and through one tensor that is given twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tinytape as tt

from . import Call, Float, Index, Row, Shape

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


@st.composite
def _views(draw: Any, shape: Shape) -> View:
    kind = draw(st.sampled_from(("plain", "turned", "sliced", "stretched")))
    if kind == "plain" or not shape:
        return _plain(shape)
    if kind == "turned":
        return _turned(shape)
    axis = draw(st.integers(0, len(shape) - 1))
    if kind == "sliced":
        return _sliced(shape, axis, draw(st.integers(1, 2)))
    return _stretched(shape, axis)


def values(rng: np.random.Generator, given: Float | Index, shape: Shape) -> Array:
    if isinstance(given, Index):
        return rng.integers(0, given.below, shape) if given.below else np.zeros(shape, np.int64)
    x = rng.uniform(given.low, given.high, shape)
    return np.asarray(np.where(np.abs(x) < given.gap, x + np.copysign(given.gap, x), x))


class Problem:
    """A call with its leaves.

    Attributes:
        leaves: the arrays; floating ones are float64.
        wanted: for each leaf, whether its gradient is asked for.
        busy: every floating input also has a consumer that is recorded later, whose gradient
            therefore arrives first: the operation's backward has to add to it.
    """

    def __init__(
        self, call: Call, views: Sequence[View], alias: Sequence[int], busy: bool, seed: int
    ) -> None:
        self.call = call
        self.views = views
        self.alias = alias  # the input that each input is (itself, where nothing is shared)
        self.busy = busy
        self.rng = np.random.default_rng(seed)
        self.own = [i for i, j in enumerate(alias) if i == j]
        self.leaves = [values(self.rng, call.inputs[i], views[i].leaf_shape) for i in self.own]
        self.wanted = [isinstance(call.inputs[i], Float) for i in self.own]

    def __repr__(self) -> str:
        kinds = [f"{i.shape}={v.kind}" for i, v in zip(self.call.inputs, self.views, strict=True)]
        return f"Problem({kinds}, alias={self.alias}, wanted={self.wanted}, busy={self.busy})"

    # ---- numpy ----

    def seen(self, leaves: Sequence[Array]) -> dict[int, Array]:
        """The inputs that are not aliases, by their place."""
        return {i: self.views[i].of_array(x) for i, x in zip(self.own, leaves, strict=True)}

    def objective(self, leaves: Sequence[Array], cotangents: Sequence[Array]) -> float:
        """<cotangents, what run() returns>."""
        total = (self.reference(leaves) * cotangents[0]).sum()
        if self.busy:
            seen = self.wanted_of(list(self.seen(leaves).values()))
            total -= sum((x * c).sum() for x, c in zip(seen, cotangents[1:], strict=True))
        return float(total)

    def reference(self, leaves: Sequence[Array]) -> Array:
        seen = self.seen(leaves)
        return np.asarray(self.call.reference(*(seen[j] for j in self.alias)))

    # ---- tinytape ----

    def tensors(self, dtype: tt.dtype = tt.float64) -> list[tt.Tensor]:
        """Fresh leaves."""
        made = []
        for x, wanted in zip(self.leaves, self.wanted, strict=True):
            kind = dtype if x.dtype == np.float64 else tt.int64
            made.append(tt.tensor(x, dtype=kind, requires_grad=wanted))
        return made

    def run(self, leaves: Sequence[tt.Tensor]) -> list[tt.Tensor]:
        """The operation's output; then, where inputs are busy, their other consumers'."""
        made = {i: self.views[i].of_tensor(x) for i, x in zip(self.own, leaves, strict=True)}
        inputs = [made[j] for j in self.alias]
        out = [self.call.run(*inputs)]
        if self.busy:
            out += [-made[i] for i, wanted in zip(self.own, self.wanted, strict=True) if wanted]
        return out

    def wanted_of(self, leaves: Sequence[Any]) -> list[Any]:
        return [x for x, wanted in zip(leaves, self.wanted, strict=True) if wanted]

    def like(self, arrays: Sequence[Any]) -> list[Array]:
        """Random arrays of these shapes: cotangents, weights, directions."""
        return [self.rng.standard_normal(a.shape) for a in arrays]


@st.composite
def problems(draw: Any, row: Row) -> Problem:
    call = row.case(draw)
    views, alias = [], []
    for i, given in enumerate(call.inputs):
        same = [j for j in range(i) if alias[j] == j and call.inputs[j] == given]
        if same and draw(st.booleans()):
            alias.append(draw(st.sampled_from(same)))
            views.append(views[alias[-1]])
        else:
            alias.append(i)
            views.append(draw(_views(given.shape)))
    made = Problem(call, views, alias, draw(st.booleans()), draw(st.integers(0, 2**32 - 1)))
    floats = [k for k, wanted in enumerate(made.wanted) if wanted]
    if len(floats) > 1 and draw(st.booleans()):
        kept = draw(st.sets(st.sampled_from(floats), min_size=1))
        made.wanted = [k in kept for k in range(len(made.wanted))]
    return made


def large_problem(row: Row, seed: int = 0) -> Problem:
    n = len(row.large.inputs)
    views = [_plain(given.shape) for given in row.large.inputs]
    return Problem(row.large, views, range(n), busy=False, seed=seed)
