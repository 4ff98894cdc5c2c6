"""Transformations of functions: gradients, and products with the Jacobian and the Hessian.

They nest. A result carries a graph exactly where it depends on something else that requires a
gradient: the parameters of a model that the function closes over, or the inputs of a transformation
around this one.

>>> f = lambda x: (x * x * x).sum()
>>> x = tt.tensor([1.0, 2.0])
>>> tt.func.grad(f)(x).tolist()
[3.0, 12.0]
>>> value, product = tt.func.hvp(f, x, tt.tensor([1.0, 0.0]))
>>> product.tolist()
[6.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from tinytape._ffi import lib
from tinytape.autograd import enable_grad
from tinytape.autograd import grad as gradients_of
from tinytape.creation import ones_like, zeros_like
from tinytape.errors import ArgumentError, DTypeError, ShapeError, TapeStateError
from tinytape.tensor import Tensor

__all__ = ["grad", "grad_and_value", "hvp", "jvp", "vjp"]


class _Run:
    """A function run on inputs of its own, with the parts that are needed to differentiate it."""

    def __init__(self, name: str, func: Callable[..., Any], primals: Sequence[Any], aux: bool):
        if not callable(func):
            raise TypeError(f"{name}: expected a function, got {type(func).__name__}")
        for i, x in enumerate(primals):
            if not isinstance(x, Tensor):
                raise TypeError(f"{name}: expected a Tensor as input {i}, got {type(x).__name__}")
            if not x.dtype.is_floating_point:
                raise DTypeError(f"{name}: input {i} must be of floats, got {x.dtype}")
        with enable_grad():
            # An input that someone else differentiates by is passed on through the tape.
            self.inputs = [
                x.reshape(x.shape) if x.requires_grad else x.detach().requires_grad_()
                for x in primals
            ]
            result = func(*self.inputs)
        self.aux = None
        if aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise TypeError(f"{name}: with has_aux the function must return (output, aux)")
            result, self.aux = result
        self.several = isinstance(result, tuple)
        self.outputs: list[Tensor] = list(result) if self.several else [result]
        for y in self.outputs:
            if not isinstance(y, Tensor):
                raise TypeError(
                    f"{name}: the function must return a Tensor or a tuple of them, "
                    f"got {type(y).__name__}"
                )
        self.nested = any(x.requires_grad for x in primals) or any(map(self._depends, self.outputs))

    def _depends(self, output: Tensor) -> bool:
        context = output._context
        context.enter()
        own = context.handles(self.inputs)
        return bool(lib.tt_has_other_leaves(context.pointer, output._handle, len(self.inputs), own))

    def finished(self, x: Tensor) -> Tensor:
        return x if self.nested else x.detach()

    def output(self) -> Any:
        made = [self.finished(y) for y in self.outputs]
        return tuple(made) if self.several else made[0]

    def pull(self, name: str, cotangents: Sequence[Any], create_graph: bool) -> list[Tensor]:
        """The product of the Jacobian's transpose with cotangents, one of each output's shape."""
        _check_like(name, "cotangent", cotangents, self.outputs)
        pairs = [(y, u) for y, u in zip(self.outputs, cotangents, strict=True) if y.requires_grad]
        if not pairs:
            return [zeros_like(x) for x in self.inputs]
        outputs, seeds = zip(*pairs, strict=True)
        found = gradients_of(
            outputs,
            self.inputs,
            seeds,
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        return cast("list[Tensor]", list(found))  # materialised: none of them is None


def _check_like(name: str, what: str, given: Sequence[Any], wanted: Sequence[Tensor]) -> None:
    if len(given) != len(wanted):
        raise ArgumentError(f"{name}: expected {len(wanted)} {what}s, got {len(given)}")
    for i, (u, y) in enumerate(zip(given, wanted, strict=True)):
        if not isinstance(u, Tensor):
            raise TypeError(f"{name}: expected a Tensor as {what} {i}, got {type(u).__name__}")
        if u.shape != y.shape:
            raise ShapeError(f"{name}: {what} {i} must have shape {y.shape}, got {u.shape}")
        if u.dtype is not y.dtype:
            raise DTypeError(f"{name}: {what} {i} must be {y.dtype}, got {u.dtype}")


def vjp(func: Callable[..., Any], *primals: Tensor, has_aux: bool = False) -> tuple[Any, ...]:
    """``func(*primals)``, and a function for products with the transpose of its Jacobian.

    As ``torch.func.vjp``.

    Args:
        func: returns a Tensor or a tuple of them; with has_aux ``(output, aux)``.

    Returns:
        ``(output, vjp_fn)`` or ``(output, vjp_fn, aux)``. ``vjp_fn(*cotangents)``, with one of the
        shape and dtype of each output, returns a tuple of one gradient for each primal.

    Raises:
        TypeError: for primals that are not floating Tensors.
        DTypeError: for primals of integers or bools.
    """
    run = _Run("vjp", func, primals, has_aux)

    def vjp_fn(*cotangents: Tensor) -> tuple[Tensor, ...]:
        graph = run.nested or any(isinstance(u, Tensor) and u.requires_grad for u in cotangents)
        return tuple(run.pull("vjp", cotangents, graph))

    return (run.output(), vjp_fn, run.aux) if has_aux else (run.output(), vjp_fn)


def jvp(
    func: Callable[..., Any],
    primals: Sequence[Tensor],
    tangents: Sequence[Tensor],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """``func(*primals)``, and the product of its Jacobian with tangents.

    Computed by two backward passes: the product with the transpose is linear in the cotangent, and
    its derivative by the cotangent is the product wanted (J. Townsend, "A new trick for calculating
    Jacobian vector products", 2017).

    As ``torch.func.jvp``.

    Args:
        primals, tangents: tuples of Tensors, of the same shapes and dtypes.
        strict: raise where an output does not depend on any primal, instead of returning zeros.

    Returns:
        ``(output, product)``, of one structure, or ``(output, product, aux)``.

    Raises:
        TypeError, ValueError: for tangents that do not fit.
        TapeStateError: with strict, for an output that depends on no primal.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("jvp: primals and tangents must be tuples of Tensors")
    run = _Run("jvp", func, primals, has_aux)
    _check_like("jvp", "tangent", tangents, run.inputs)
    graph = run.nested or any(t.requires_grad for t in tangents)
    with enable_grad():
        dummies = [zeros_like(y).requires_grad_() for y in run.outputs]
        pulled = run.pull("jvp", dummies, True)
        pairs = [(g, t) for g, t in zip(pulled, tangents, strict=True) if g.requires_grad]
        products: list[Tensor | None] = [None] * len(dummies)
        if pairs:
            rows, seeds = zip(*pairs, strict=True)
            products = list(
                gradients_of(rows, dummies, seeds, create_graph=graph, allow_unused=True)
            )
    for i, product in enumerate(products):
        if product is None and strict:
            raise TapeStateError(f"jvp: output {i} does not depend on any primal (strict=True)")
    filled = [zeros_like(y) if p is None else p for p, y in zip(products, run.outputs, strict=True)]
    pushed = tuple(filled) if run.several else filled[0]
    return (run.output(), pushed, run.aux) if has_aux else (run.output(), pushed)


def hvp(
    func: Callable[..., Any], inputs: Tensor | Sequence[Tensor], v: Tensor | Sequence[Tensor]
) -> tuple[Tensor, Any]:
    """The value of a scalar function, and the product of its Hessian with v.

    As ``torch.autograd.functional.hvp``: neither carries a graph.

    Args:
        inputs: a Tensor or a tuple of them, the arguments of func.
        v: of the same structure, shapes and dtypes.

    Raises:
        ValueError: where func does not return a single element, or v does not fit.
        DTypeError: for inputs that are not floating.
    """
    several = isinstance(inputs, (tuple, list))
    given: list[Any] = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    vectors: list[Any] = list(v) if isinstance(v, (tuple, list)) else [v]
    run = _Run("hvp", func, [x.detach() if isinstance(x, Tensor) else x for x in given], False)
    _check_like("hvp", "vector", vectors, run.inputs)
    _check_scalar("hvp", run)
    with enable_grad():
        slopes = run.pull("hvp", [ones_like(run.outputs[0])], True)
    pairs = [(g, u.detach()) for g, u in zip(slopes, vectors, strict=True) if g.requires_grad]
    products = [zeros_like(x) for x in run.inputs]
    if pairs:
        rows, seeds = zip(*pairs, strict=True)
        found = gradients_of(rows, run.inputs, seeds, materialize_grads=True)
        products = cast("list[Tensor]", list(found))
    return run.outputs[0].detach(), tuple(products) if several else products[0]


def _check_scalar(name: str, run: _Run) -> None:
    if run.several or run.outputs[0].numel() != 1:
        shapes = [y.shape for y in run.outputs]
        raise ShapeError(f"{name}: the function must return one single element, got {shapes}")


def grad_and_value(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that computes the gradient of ``func`` and its value.

    As ``torch.func.grad_and_value``.

    Args:
        func: returns a single element; with has_aux ``(value, aux)``.
        argnums: by which positional arguments; a tuple gives a tuple of gradients.

    Returns:
        A function of the same arguments, which returns ``(gradient, value)`` or
        ``(gradient, (value, aux))``, the gradient in the shape of its argument. It raises
        ArgumentError for an argument that is not there, ShapeError where func returns more than one
        element, and DTypeError for an argument that is not floating.
    """
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        for n in numbers:
            if not -len(args) <= n < len(args):
                raise ArgumentError(f"grad: there is no argument {n} among {len(args)}")
        places = [n % len(args) for n in numbers]

        def partial(*chosen: Tensor) -> Any:
            full = list(args)
            for n, x in zip(places, chosen, strict=True):
                full[n] = x
            return func(*full, **kwargs)

        run = _Run("grad", partial, [args[n] for n in places], has_aux)
        _check_scalar("grad", run)
        found = run.pull("grad", [ones_like(run.outputs[0])], run.nested)
        gradient = tuple(found) if isinstance(argnums, tuple) else found[0]
        value = run.output()
        return gradient, (value, run.aux) if has_aux else value

    return differentiated


def grad(
    func: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that computes the gradient of ``func``; with has_aux ``(gradient, aux)``.

    As ``torch.func.grad``. The gradient has the shape of its argument; arguments and errors are
    those of :func:`grad_and_value`.

    >>> tt.func.grad(lambda x: x * x)(tt.tensor(3.0)).item()
    6.0
    """
    both = grad_and_value(func, argnums, has_aux)

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated
