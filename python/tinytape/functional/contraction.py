"""einsum: sums of products of tensors, by the names of their axes.

>>> a, b = tt.ones(2, 3), tt.ones(3, 4)
>>> tt.einsum("ij,jk->ik", a, b).shape
(2, 4)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinytape.dtypes import bool_
from tinytape.errors import ArgumentError, DTypeError, ShapeError
from tinytape.functional._apply import check_tensor
from tinytape.functional.elementwise import mul
from tinytape.functional.linalg import matmul
from tinytape.functional.reductions import sum as sum_over
from tinytape.functional.shape import diagonal, permute, reshape, squeeze

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

__all__ = ["einsum"]

MAX_DIMS = 8


class _Term(NamedTuple):
    """A tensor and the names of its axes: letters, and ".1", ".2", ... for those of an ellipsis,
    counted from its end, so that equal names are aligned as broadcasting aligns them."""

    x: Tensor
    names: list[str]


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Sums of products in Einstein's notation, such as ``einsum("bij,bjk->bik", a, b)``.

    Each operand has its axes named by letters; an ellipsis stands for any number of axes, which
    are broadcast. Axes of one name run together (a size of 1 is stretched); a name twice in one
    operand takes its diagonal. After ``->`` come the axes of the result; all others are summed
    over. Without ``->`` the result has the ellipsis, then in alphabetical order the letters that
    occur once. Products are taken from left to right.

    As ``torch.einsum``, but the equation must be a string: lists of axis numbers are not supported.

    Args:
        equation: the names, operands separated by commas; spaces do not count.
        operands: of one dtype, that of the result; as many as the equation has. Integers wrap
            around.

    Raises:
        ArgumentError: for an equation that is not well formed.
        ShapeError: when shapes do not fit the equation, or sizes of one name differ.
        DTypeError: when the types differ, or are bool.
    """
    if not isinstance(equation, str):
        raise TypeError(
            f"einsum: expected the equation as a str, got {type(equation).__name__}: lists of "
            "axis numbers are not supported"
        )
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ArgumentError("einsum: expected at least one operand")
    for x in operands:
        check_tensor("einsum", x)
        if x.dtype is not operands[0].dtype:
            raise DTypeError(
                f"einsum: operands must share one dtype, got {operands[0].dtype} and {x.dtype}"
            )
        if x.dtype is bool_:
            raise DTypeError("einsum: operands must hold numbers, got bool: use to()")
    terms, output = _parse(equation, operands)
    _check_sizes(terms)
    terms = [_diagonals(term) for term in terms]
    result = terms[0]
    for k, other in enumerate(terms[1:], start=2):
        wanted = {*output, *(name for term in terms[k:] for name in term.names)}
        result = _product(result, other, wanted)
    x, names = _summed(result, output)
    return permute(x, [names.index(name) for name in output])  # never an operand itself


# ---- the equation --------------------------------------------------------------------------------


def _names(part: str, ellipsis: int) -> list[str]:
    """The axes that a part of the equation names, its ellipsis being so many axes."""
    before, dots, after = part.partition("...")
    for letter in before + after:
        if not (letter.isascii() and letter.isalpha()):
            raise ArgumentError(
                f"einsum: expected letters a-z, A-Z and at most one '...', got {part!r}"
            )
    middle = [f".{i}" for i in range(ellipsis, 0, -1)] if dots else []
    return [*before, *middle, *after]


def _parse(equation: str, operands: Sequence[Tensor]) -> tuple[list[_Term], list[str]]:
    text = "".join(equation.split())
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise ArgumentError(
            f"einsum: the equation {equation!r} has {len(parts)} operands, got {len(operands)}"
        )
    terms, longest = [], 0
    for part, x in zip(parts, operands, strict=True):
        ellipsis = x.ndim - len(_names(part, 0))
        if ellipsis < 0 or (ellipsis > 0 and "..." not in part):
            raise ShapeError(f"einsum: {part!r} does not name the axes of shape {x.shape}")
        terms.append(_Term(x, _names(part, ellipsis)))
        longest = max(longest, ellipsis)
    count = Counter(name for term in terms for name in term.names)
    if not arrow:
        once = sorted(n for n in count if n.isalpha() and count[n] == 1)
        return terms, [*_names("...", longest), *once]
    output = _names(right, longest)
    for name in output:
        if output.count(name) > 1:
            raise ArgumentError(f"einsum: {name!r} appears more than once in the output {right!r}")
        if name not in count:
            raise ArgumentError(f"einsum: {name!r} of the output is in no operand of {equation!r}")
    return terms, output


def _check_sizes(terms: Sequence[_Term]) -> None:
    sizes: dict[str, int] = {}
    for x, names in terms:
        for name, size in zip(names, x.shape, strict=True):
            seen = sizes.get(name, 1)
            if seen not in (1, size) and size != 1:
                axis = "the ellipsis" if name.startswith(".") else repr(name)
                raise ShapeError(f"einsum: axes named {axis} have sizes {seen} and {size}")
            sizes[name] = size if seen == 1 else seen


# ---- one operand ---------------------------------------------------------------------------------


def _diagonals(term: _Term) -> _Term:
    x, names = term.x, list(term.names)
    for name in dict.fromkeys(term.names):
        while names.count(name) > 1:
            i = names.index(name)
            j = names.index(name, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError(
                    f"einsum: {name!r} names axes of sizes {x.shape[i]} and {x.shape[j]} of one "
                    "operand"
                )
            x = diagonal(x, 0, i, j)
            del names[j], names[i]
            names.append(name)
    return _Term(x, names)


def _summed(term: _Term, wanted: Collection[str]) -> _Term:
    """The operand summed over the axes that are no longer needed."""
    gone = [i for i, name in enumerate(term.names) if name not in wanted]
    if not gone:
        return term
    total = sum_over(term.x, gone).to(term.x.dtype)  # of integers it is an int64
    return _Term(total, [n for n in term.names if n in wanted])


def _ordered(x: Tensor, names: list[str], order: list[str]) -> Tensor:
    return x if names == order else permute(x, [names.index(name) for name in order])


# ---- two operands --------------------------------------------------------------------------------


def _stretched_away(term: _Term, other: _Term) -> _Term:
    """The operand without axes of size 1 that the other has in full: the product is the same."""
    sizes = dict(zip(other.names, other.x.shape, strict=True))
    gone = [i for i, n in enumerate(term.names) if term.x.shape[i] == 1 and sizes.get(n, 1) != 1]
    if not gone:
        return term
    return _Term(squeeze(term.x, gone), [n for i, n in enumerate(term.names) if i not in gone])


def _product(a: _Term, b: _Term, wanted: set[str]) -> _Term:
    """The product of two operands, summed over the axes that are no longer needed.

    It is one product of matrices, (batch, rows, inner) times (batch, inner, columns).
    """
    a, b = _stretched_away(a, b), _stretched_away(b, a)
    a, b = _summed(a, wanted | set(b.names)), _summed(b, wanted | set(a.names))
    sizes = dict(zip(a.names + b.names, a.x.shape + b.x.shape, strict=True))
    shared = [n for n in a.names if n in b.names]
    batch, inner = [n for n in shared if n in wanted], [n for n in shared if n not in wanted]
    rows = [n for n in a.names if n not in shared]
    columns = [n for n in b.names if n not in shared]
    result = batch + rows + columns
    if len(result) > MAX_DIMS:
        raise ShapeError(f"einsum: a product on the way has {len(result)} axes, more than 8")

    def total(names: list[str]) -> int:
        return math.prod(sizes[n] for n in names)

    n_batch, n_rows, n_inner, n_columns = (total(names) for names in (batch, rows, inner, columns))
    lead = [n_batch] if batch else []
    x = reshape(_ordered(a.x, a.names, batch + rows + inner), [*lead, n_rows, n_inner])
    y = reshape(_ordered(b.x, b.names, batch + inner + columns), [*lead, n_inner, n_columns])
    product = matmul(x, y) if inner else mul(x, y)
    return _Term(reshape(product, [sizes[n] for n in result]), result)
