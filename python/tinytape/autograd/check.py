"""Checking gradients against central differences.

>>> x = tt.tensor([0.5, 1.5], dtype=tt.float64, requires_grad=True)
>>> tt.autograd.gradcheck(lambda x: (x * x).sum(), x)
True
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytape.autograd.grad_mode import enable_grad
from tinytape.autograd.gradients import grad
from tinytape.creation import tensor
from tinytape.dtypes import float64
from tinytape.errors import ArgumentError, TinytapeError
from tinytape.functional._apply import is_tensor

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

Array = np.ndarray[Any, Any]


class GradcheckError(TinytapeError, RuntimeError):
    """A gradient that central differences do not confirm; as
    ``torch.autograd.gradcheck.GradcheckError``.
    """


def _refuse(name: str, options: dict[str, tuple[Any, Any]]) -> None:
    for option, (given, default) in options.items():
        if given is not default and given != default:
            raise ArgumentError(
                f"{name}: {option}={given!r} is not supported, expected {default!r}: tinytape has "
                "one mode, reverse, without batching"
            )


class _Check:
    """A function and the point at which it is looked at."""

    def __init__(self, name: str, func: Callable[..., Any], inputs: Sequence[Any], eps: float):
        self.name, self.func, self.inputs, self.eps = name, func, inputs, eps
        self.numbers = [i for i, x in enumerate(inputs) if is_tensor(x) and x.requires_grad]
        if not self.numbers:
            raise ArgumentError(f"{name}: expected at least one input that requires a gradient")
        for i in self.numbers:
            if inputs[i].dtype is not float64:
                warnings.warn(
                    f"{name}: input {i} is {inputs[i].dtype}: differences of such numbers say "
                    "little, use float64",
                    stacklevel=4,
                )
        self.leaves: list[Tensor] = [inputs[i] for i in self.numbers]
        self.outputs = self._run(inputs)

    def _run(self, inputs: Sequence[Any]) -> list[Tensor]:
        with enable_grad():
            made = self.func(*inputs)
        outputs = list(made) if isinstance(made, (tuple, list)) else [made]
        for y in outputs:
            if not is_tensor(y):
                raise TypeError(
                    f"{self.name}: the function must return Tensors, got {type(y).__name__}"
                )
        return [y for y in outputs if y.dtype.is_floating_point]

    def moved(self, which: int, by: Array) -> list[Array]:
        """The outputs where one input is elsewhere."""
        inputs = [
            tensor(x.numpy(), dtype=x.dtype, requires_grad=x.requires_grad) if is_tensor(x) else x
            for x in self.inputs
        ]
        i = self.numbers[which]
        values = inputs[i].numpy() + by.astype(inputs[i].dtype.numpy)
        inputs[i] = tensor(values, dtype=inputs[i].dtype, requires_grad=True)
        return [y.numpy() for y in self._run(inputs)]

    def difference(self, which: int, direction: Array) -> list[Array]:
        """The central difference of each output."""
        ahead = self.moved(which, self.eps * direction)
        behind = self.moved(which, -self.eps * direction)
        return [(a - b) / (2 * self.eps) for a, b in zip(ahead, behind, strict=True)]

    def pulled(self, k: int, cotangent: Array) -> list[Array]:
        """The gradients of <output k, cotangent> by all inputs."""
        y = self.outputs[k]
        if not y.requires_grad:
            return [np.zeros(x.shape) for x in self.leaves]
        seed = tensor(cotangent, dtype=y.dtype)
        found = grad(y, self.leaves, seed, retain_graph=True, materialize_grads=True)
        return [g.numpy() for g in found if g is not None]


def _compare(
    check: _Check,
    k: int,
    i: int,
    analytical: Array,
    numerical: Array,
    tolerance: tuple[float, float],
) -> None:
    """Jacobians of output k by input i: shape of the output, then that of the input."""
    atol, rtol = tolerance
    wrong = ~(np.abs(analytical - numerical) <= atol + rtol * np.abs(numerical))
    if not wrong.any():
        return
    at = tuple(int(n) for n in np.argwhere(wrong)[0])
    cut = check.outputs[k].ndim
    raise GradcheckError(
        f"{check.name}: the gradient of output {k} by input {check.numbers[i]} is wrong in "
        f"{int(wrong.sum())} of {wrong.size} entries; the first, d output{list(at[:cut])} / "
        f"d input{list(at[cut:])}, is {analytical[at]!s} analytically and {numerical[at]!s} "
        "numerically"
    )


def _compare_all(check: _Check, tolerance: tuple[float, float]) -> None:
    numerical = [[np.zeros((*y.shape, *x.shape)) for x in check.leaves] for y in check.outputs]
    for i, x in enumerate(check.leaves):
        for at in np.ndindex(x.shape):
            direction = np.zeros(x.shape)
            direction[at] = 1.0
            for k, column in enumerate(check.difference(i, direction)):
                numerical[k][i][(slice(None),) * column.ndim + at] = column
    for k, y in enumerate(check.outputs):
        analytical = [np.zeros((*y.shape, *x.shape)) for x in check.leaves]
        for at in np.ndindex(y.shape):
            cotangent = np.zeros(y.shape)
            cotangent[at] = 1.0
            for i, row in enumerate(check.pulled(k, cotangent)):
                analytical[i][at] = row
        for i in range(len(check.leaves)):
            _compare(check, k, i, analytical[i], numerical[k][i], tolerance)


def _compare_projections(check: _Check, tolerance: tuple[float, float]) -> None:
    """One random direction of each input against one of each output."""
    rng = np.random.default_rng(0)
    for i, x in enumerate(check.leaves):
        direction = rng.standard_normal(x.shape)
        direction /= max(float(np.linalg.norm(direction)), 1e-300)
        for k, column in enumerate(check.difference(i, direction)):
            cotangent = np.asarray(rng.standard_normal(column.shape))
            analytical = float((check.pulled(k, cotangent)[i] * direction).sum())
            numerical = float((column * cotangent).sum())
            if not abs(analytical - numerical) <= tolerance[0] + tolerance[1] * abs(numerical):
                raise GradcheckError(
                    f"{check.name}: the gradient of output {k} by input {check.numbers[i]} is "
                    f"wrong in a random direction: {analytical} analytically and {numerical} "
                    "numerically; fast_mode=False names the entry"
                )


def _compare_repeated(check: _Check, nondet_tol: float) -> None:
    for k, y in enumerate(check.outputs):
        ones = np.ones(y.shape)
        for i, (a, b) in enumerate(zip(check.pulled(k, ones), check.pulled(k, ones), strict=True)):
            if a.size and float(np.abs(a - b).max()) > nondet_tol:
                raise GradcheckError(
                    f"{check.name}: two passes give different gradients of output {k} by input "
                    f"{check.numbers[i]}, by up to {np.abs(a - b).max()}"
                )


def _judge(
    check: _Check,
    tolerance: tuple[float, float],
    nondet_tol: float,
    fast_mode: bool,
    raise_exception: bool,
) -> bool:
    try:
        (_compare_projections if fast_mode else _compare_all)(check, tolerance)
        _compare_repeated(check, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _listed(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of ``func(*inputs)`` with central differences, entry by entry.

    As ``torch.autograd.gradcheck``, in its slow mode by default as there.

    Args:
        func: returns a Tensor or a tuple of them, and depends on nothing but its inputs.
        inputs: those that require a gradient are checked; they should be float64.
        eps: the step of the differences.
        atol, rtol: ``|analytical - numerical| <= atol + rtol |numerical|`` passes.
        raise_exception: otherwise return False where gradients differ.
        nondet_tol: by how much two passes may differ.
        check_undefined_grad, check_grad_dtypes: always so here: outputs are differentiated one by
            one, and a gradient has its tensor's dtype.
        fast_mode: compare one random projection of each Jacobian instead of all its entries.

    Raises:
        GradcheckError: a RuntimeError that names output, input, entry and both numbers.
        ValueError: where no input requires a gradient, or for options that other libraries' modes
            of differentiation need.
    """
    options = {
        "check_batched_grad": (check_batched_grad, False),
        "check_batched_forward_grad": (check_batched_forward_grad, False),
        "check_forward_ad": (check_forward_ad, False),
        "check_backward_ad": (check_backward_ad, True),
        "masked": (masked, None) if masked is not False else (None, None),
    }
    _refuse("gradcheck", options)
    check = _Check("gradcheck", func, _listed(inputs), eps)
    return _judge(check, (atol, rtol), nondet_tol, fast_mode, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compare the gradients of the gradients of ``func(*inputs)`` with central differences.

    As ``torch.autograd.gradgradcheck``. The gradients are taken by the inputs and by
    ``grad_outputs``, which are drawn where they are left out (with gen_non_contig_grad_outputs
    transposed in memory). The other arguments are those of :func:`gradcheck`.

    Raises:
        GradcheckError: a RuntimeError that names output, input, entry and both numbers. Output i
            is the gradient by the i-th input that requires one; the grad_outputs are the last
            inputs.
        ArgumentError: where no output depends on an input that requires a gradient, or for options
            that other libraries' modes of differentiation need.
    """
    options = {
        "check_batched_grad": (check_batched_grad, False),
        "check_fwd_over_rev": (check_fwd_over_rev, False),
        "check_rev_over_rev": (check_rev_over_rev, True),
        "masked": (masked, False),
    }
    _refuse("gradgradcheck", options)
    given = _listed(inputs)
    first = _Check("gradgradcheck", func, given, eps)
    kept = [k for k, y in enumerate(first.outputs) if y.requires_grad]
    if not kept:
        raise ArgumentError("gradgradcheck: no output depends on an input that requires a gradient")
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = []
        for k in kept:
            y = first.outputs[k]
            values = rng.standard_normal(y.shape)
            seed = tensor(values.T.copy(), dtype=y.dtype, requires_grad=True)
            if gen_non_contig_grad_outputs and y.ndim > 1:
                seeds.append(seed.permute(tuple(reversed(range(y.ndim)))))
            else:
                seeds.append(tensor(values, dtype=y.dtype, requires_grad=True))
    else:
        seeds = [u.detach().requires_grad_() for u in _listed(grad_outputs)]

    def slopes(*args: Any) -> tuple[Tensor, ...]:
        made = _Check("gradgradcheck", func, args[: len(given)], eps)
        found = grad(
            [made.outputs[k] for k in kept],
            made.leaves,
            args[len(given) :],
            create_graph=True,
            materialize_grads=True,
        )
        return tuple(g for g in found if g is not None)

    check = _Check("gradgradcheck", slopes, [*given, *seeds], eps)
    return _judge(check, (atol, rtol), nondet_tol, fast_mode, raise_exception)
