"""What a row is, and the rows of kinds of functions that are alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Shape = tuple[int, ...]

ALIASES: dict[str, str] = {
    "concat": "cat",
    "concatenate": "cat",
    "moveaxis": "movedim",
    "swapaxes": "transpose",
    "swapdims": "transpose",
}
"""Public names of functions that have a row under another name: the very same function."""

WITHOUT_ROW: dict[str, str] = {}
"""Public names that are no functions of numbers, each with the reason."""


@dataclass(frozen=True)
class Float:
    """A floating input: values between low and high, none closer to a kink than gap.

    ``distinct``: the values of all such inputs of the call (of one domain) differ by more than
    1e-3 where they are up to a thousand, so that order, largest and smallest are plain. These
    inputs are never stretched, and never one tensor given twice.
    """

    shape: Shape
    low: float = -2.0
    high: float = 2.0
    gap: float = 0.0
    kinks: tuple[float, ...] = (0.0,)
    distinct: bool = False


@dataclass(frozen=True)
class Index:
    """An int64 input: values from 0 to below - 1."""

    shape: Shape
    below: int


@dataclass(frozen=True)
class Mask:
    """A bool input, about half of it true."""

    shape: Shape


@dataclass(frozen=True)
class Call:
    """One call: what goes in, how the function is run, what numpy makes of the same arrays.

    ``run`` returns a tensor or a tuple of tensors, ``reference`` an array or a tuple of arrays.
    Results that are integers or bools are compared exactly, and no gradient is asked of them.
    """

    inputs: Sequence[Float | Index | Mask]
    run: Callable[..., Any]
    reference: Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """``case(draw)`` gives a small call; ``large`` is one big enough to be shared by threads.

    Attributes:
        differentiable: False where asking for a gradient is an error that names the function.
        integers: the Float inputs may be integers or bools too. True: the result is of their
            dtype; otherwise the name of the dtype that the result always has, such as "float32";
            None: other tests say what becomes of them.
        float32: how closely float32 follows float64; ten times that in the second order, where
            larger numbers cancel, and never more than 1e-3.
    """

    case: Callable[[Any], Call]
    large: Call
    differentiable: bool = True
    integers: bool | str | None = False
    float32: float = 1e-5


# ---- shapes --------------------------------------------------------------------------------------

SIDES = st.sampled_from((1, 2, 3, 4, 5, 2, 3, 0))
"""Mostly small, sometimes one, now and then nothing."""


def shapes(least: int = 0, most: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(SIDES, min_size=least, max_size=most).map(tuple)


@st.composite
def broadcast_pairs(draw: Any, most: int = 4) -> tuple[Shape, Shape]:
    """Two shapes that numpy's rule stretches to one."""
    full = draw(shapes(0, most))
    pair = []
    for _ in range(2):
        kept = full[draw(st.integers(0, len(full))) if draw(st.booleans()) else 0 :]
        pair.append(tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in kept))
    return pair[0], pair[1]


def of_numbers(reference: Callable[..., Any]) -> Callable[..., Any]:
    """The reference of a function that bools do not have, said as numpy says it: a TypeError."""

    def refusing(*arrays: Any) -> Any:
        if any(x.dtype == bool for x in arrays):
            raise TypeError("no such function of bools")
        return reference(*arrays)

    return refusing


# ---- the rows of elementwise operations ----------------------------------------------------------


def unary(
    run: Callable[..., Any],
    reference: Callable[..., Any],
    *,
    differentiable: bool = True,
    integers: bool | str | None = False,
    **domain: Any,
) -> Row:
    """A function of one tensor; ``domain`` is what Float takes."""

    def case(draw: Any) -> Call:
        return Call([Float(draw(shapes()), **domain)], run, reference)

    large = Call([Float((150, 301), **domain)], run, reference)
    return Row(case, large, differentiable, integers)


def binary(
    run: Callable[..., Any],
    reference: Callable[..., Any],
    *,
    differentiable: bool = True,
    integers: bool | str | None = False,
    **domain: Any,
) -> Row:
    """A function of two tensors that broadcast; ``domain`` is what Float takes."""

    def case(draw: Any) -> Call:
        a, b = draw(broadcast_pairs())
        return Call([Float(a, **domain), Float(b, **domain)], run, reference)

    large = Call([Float((150, 301), **domain), Float((301,), **domain)], run, reference)
    return Row(case, large, differentiable, integers)


# ---- the rows of reductions ----------------------------------------------------------------------


def axes_within(draw: Any, shape: Shape) -> int | tuple[int, ...] | None:
    """Some axes of a shape, from either end, as ``dim`` takes them; None for all."""
    order = draw(st.permutations(range(len(shape)))) if shape else []
    axes = [a - len(shape) if draw(st.booleans()) else a for a in order]
    axes = axes[: draw(st.integers(0, len(shape)))]
    if len(axes) == 1 and draw(st.booleans()):
        return axes[0]
    return tuple(axes) or None


def axis_within(draw: Any, shape: Shape) -> int:
    """One axis, from either end; that of a shape without axes too."""
    n = len(shape) or 1
    return draw(st.integers(-n, n - 1))


def without_nothing(shape: Shape, dim: int | tuple[int, ...] | None) -> Shape:
    """The shape with something along the given axes."""
    axes = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    gone = {a % (len(shape) or 1) for a in axes}
    return tuple(2 if n == 0 and i in gone else n for i, n in enumerate(shape))


def reduction(
    run: Callable[..., Any],
    reference: Callable[..., Any],
    *,
    several: bool = True,
    nothing: bool = True,
    differentiable: bool = True,
    integers: bool | str | None = False,
    **domain: Any,
) -> Row:
    """A function of (x, dim, keepdim), where numpy's is of (x, axis, keepdims).

    ``several``: whether it takes more axes than one; ``nothing``: whether axes of size 0.
    """

    def call(shape: Shape, dim: Any, keepdim: bool) -> Call:
        return Call(
            [Float(shape, **domain)],
            lambda x: run(x, dim, keepdim),
            lambda x: reference(x, dim if x.ndim else None, keepdims=keepdim),
        )

    def case(draw: Any) -> Call:
        shape = draw(shapes())
        if several:
            dim = axes_within(draw, shape)
        else:
            dim = axis_within(draw, shape) if draw(st.booleans()) else None
        if not nothing:
            shape = without_nothing(shape, dim)
        return call(shape, dim, draw(st.booleans()))

    large = call((40, 50, 60), (0, 2) if several else 1, False)
    return Row(case, large, differentiable, integers)
