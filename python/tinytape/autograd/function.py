"""Function: an operation whose backward rule is written in Python.

>>> class Double(tt.autograd.Function):
...     @staticmethod
...     def forward(ctx, x):
...         return x * 2
...
...     @staticmethod
...     def backward(ctx, gradient):
...         return gradient * 2
>>> x = tt.tensor([1.0, 2.0], requires_grad=True)
>>> Double.apply(x).sum().backward()
>>> x.grad.tolist()
[2.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from tinytape._ffi import binding, lib
from tinytape.autograd.grad_mode import no_grad
from tinytape.autograd.hooks import naming, numbers
from tinytape.context import Context, current
from tinytape.creation import zeros
from tinytape.errors import ArgumentError, DTypeError, ShapeError, TapeStateError
from tinytape.functional._apply import is_tensor

if TYPE_CHECKING:
    from tinytape.tensor import Tensor


class FunctionCtx:
    """The values that forward keeps for backward; as ``torch.autograd.function.FunctionCtx``.

    Attributes of any name may be set on it.

    Attributes:
        needs_input_grad: for each argument of forward, whether its gradient is of use.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self, function: type[Function], args: Sequence[Any]) -> None:
        self._function = function
        self._name = function.__name__
        self.needs_input_grad = tuple(is_tensor(a) and a.requires_grad for a in args)
        self._is_tensor = [is_tensor(a) for a in args]
        self._to_save: tuple[Tensor | None, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._number = 0  # by which the core knows this, once it is recorded

    # ---- for forward ----

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward: inputs, outputs, and intermediate results.

        They must not change in place until then; backward finds that and raises.
        """
        for x in tensors:
            if x is not None and not is_tensor(x):
                raise TypeError(
                    f"{self._name}: save_for_backward expected Tensors or None, "
                    f"got {type(x).__name__}"
                )
        self._to_save = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Declare outputs that have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros for an output without a gradient (the default), or None."""
        self._materialize = bool(value)

    # ---- for backward ----

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that :meth:`save_for_backward` kept, in that order.

        Raises:
            RuntimeError: after forward, except in backward.
        """
        if not self._number:
            return self._to_save
        if self._waiting() is None:
            raise TapeStateError(f"{self._name}: saved tensors are there for its backward() only")
        return tuple(None if i is None else self._kept(i) for i in self._saved)

    def _waiting(self) -> Context | None:
        """The context of this thread, while a pass in it waits for this."""
        context = current()
        here = self._number and lib.tt_paused_id(context.pointer) == self._number
        return context if here else None

    def _kept(self, i: int) -> Tensor:
        kept: Tensor = binding.paused_tensor(current(), i)
        return kept

    def _inputs(self) -> list[Tensor]:
        return [self._kept(i) for i in range(sum(self._is_tensor))]

    # ---- recording and the backward pass ----

    def _record(
        self, context: Context, inputs: list[Tensor], outputs: Sequence[Any]
    ) -> tuple[Any, ...]:
        """The outputs as the tape knows them."""
        constant = {id(x) for x in self._constant}
        self._outputs = [(x.shape, x.dtype) if is_tensor(x) else None for x in outputs]
        self._differentiable = [
            is_tensor(x) and id(x) not in constant and x.dtype.is_floating_point for x in outputs
        ]
        values = [x for x, keep in zip(outputs, self._differentiable, strict=True) if keep]
        if not values:
            return tuple(outputs)
        place = {x._handle: ~k for k, x in reversed(list(enumerate(values)))}
        place.update({x._handle: i for i, x in reversed(list(enumerate(inputs)))})
        kept: list[Tensor] = []
        for x in self._to_save:
            if x is not None and x._handle not in place:
                place[x._handle] = len(inputs) + len(kept)
                kept.append(x)
        self._saved = [None if x is None else place[x._handle] for x in self._to_save]
        mask = 0
        for i in self._saved:
            if i is not None:
                mask |= 1 << (i if i >= 0 else len(inputs) + len(kept) + ~i)
        if len(inputs) + len(kept) + len(values) > 64:
            raise ArgumentError(
                f"{self._name}: {len(inputs)} inputs, {len(values)} outputs and {len(kept)} other "
                "saved tensors are more than 64 in all"
            )
        number = next(numbers)
        context.note_origin()
        made = iter(
            binding.record(
                context, context.attached, number, self, self._name, inputs, kept, values, mask
            )
        )
        self._number, self._to_save, self._constant = number, (), ()
        return tuple(
            next(made) if keep else x for x, keep in zip(outputs, self._differentiable, strict=True)
        )

    def _gradients(self, context: Context) -> list[Tensor | None]:
        """The arguments of backward: one gradient for each output."""
        gradients: list[Tensor | None] = []
        k = 0
        for output, differentiable in zip(self._outputs, self._differentiable, strict=True):
            gradient = binding.paused_gradient(context, k) if differentiable else None
            k += differentiable
            if gradient is not None:
                gradients.append(gradient)
            elif output is not None and self._materialize:
                gradients.append(zeros(output[0], dtype=output[1]))
            else:
                gradients.append(None)
        return gradients

    def answer(self, context: Context) -> tuple[str, list[Tensor | None]]:
        """The gradients of the tensors among the arguments, for the pass that waits for them.

        Raises:
            ArgumentError: where backward returns a wrong number of gradients, or one for no tensor.
            ShapeError, DTypeError: where a gradient does not fit its argument.
        """
        needs = lib.tt_paused_needs(context.pointer)
        bits = iter(range(64))
        self.needs_input_grad = tuple(t and bool(needs >> next(bits) & 1) for t in self._is_tensor)
        with naming(f"{self._name}: in backward: "):
            returned = self._function.backward(self, *self._gradients(context))
        return self._name, self._check(returned)

    def _check(self, returned: Any) -> list[Tensor | None]:
        given = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        n = len(self._is_tensor)
        while len(given) > n and given[-1] is None:
            given.pop()
        if len(given) != n:
            raise ArgumentError(
                f"{self._name}: backward returned {len(given)} gradients, expected one for each of "
                f"the {n} arguments of forward"
            )
        answers: list[Tensor | None] = []
        for i, (gradient, expected) in enumerate(zip(given, self._is_tensor, strict=True)):
            if gradient is not None and not is_tensor(gradient):
                raise TypeError(
                    f"{self._name}: backward returned a {type(gradient).__name__} as the gradient "
                    f"of argument {i}, expected a Tensor or None"
                )
            if gradient is not None and not expected:
                raise ArgumentError(
                    f"{self._name}: backward returned a gradient for argument {i}, which is not a "
                    "Tensor: expected None"
                )
            if expected:
                if gradient is not None and self.needs_input_grad[i]:
                    gradient = self._fit(gradient, i, len(answers))
                answers.append(gradient)
        return answers

    def _fit(self, gradient: Tensor, argument: int, i: int) -> Tensor:
        """A gradient of the shape to which its input would be broadcast is summed back to it."""
        x = self._kept(i)
        if gradient.dtype is not x.dtype:
            raise DTypeError(
                f"{self._name}: backward returned {gradient.dtype} as the gradient of argument "
                f"{argument}, expected {x.dtype}"
            )
        if gradient.shape == x.shape:
            return gradient
        new = gradient.ndim - x.ndim
        pairs = list(zip(gradient.shape[max(new, 0) :], x.shape, strict=False))
        if new < 0 or any(n not in (1, given) for given, n in pairs):
            raise ShapeError(
                f"{self._name}: backward returned a gradient of shape {gradient.shape} for "
                f"argument {argument} of shape {x.shape}"
            )
        widened = [new + d for d, (given, n) in enumerate(pairs) if given != n]
        return gradient.sum([*range(new), *widened]).reshape(x.shape)


class Function:
    """An operation with a backward rule of its own: subclass it, and call ``apply``.

    As ``torch.autograd.Function``.

    >>> class Square(tt.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * gradient

    The operations inside forward and backward are not recorded, except those of backward under
    ``create_graph``: the gradient can then be differentiated again. A subclass may define
    ``setup_context(ctx, inputs, output)``; forward is then called without ctx. Inputs, outputs and
    other saved tensors may be 64 together.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs from ctx and the arguments: a Tensor, or a tuple of them."""
        raise NotImplementedError("a Function must define forward()")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what backward needs, where forward is written without ctx.

        Args:
            inputs: the arguments of forward.
            output: its result.
        """
        raise NotImplementedError("setup_context() is optional")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """From the gradients of the outputs those of the arguments; None where there is none."""
        raise NotImplementedError("a Function must define backward() to be differentiated")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward, and record it where a gradient may be wanted.

        Raises:
            ArgumentError: for more than 64 inputs, outputs and saved tensors.
        """
        inputs = [a for a in args if is_tensor(a)]
        context = inputs[0]._context if inputs else current()
        context.enter()
        context.forget_ended()
        ctx = FunctionCtx(cls, args)
        recording = context.grad_enabled and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                outputs = cls.forward(ctx, *args)
            else:
                outputs = cls.forward(*args)
                cls.setup_context(ctx, args, outputs)
        several = isinstance(outputs, tuple)
        if not several and not is_tensor(outputs):
            raise TypeError(
                f"{cls.__name__}: forward must return a Tensor or a tuple of them, "
                f"got {type(outputs).__name__}"
            )
        if not recording:
            return outputs
        recorded = ctx._record(context, inputs, outputs if several else (outputs,))
        return recorded if several else recorded[0]


class _OnceDifferentiated(Function):
    """Results that depend on all inputs of a Function, by a rule that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, name: str, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.name = name
        return tuple(x.detach() for x in tensors[:n])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise TapeStateError(
            f"{ctx.name}: trying to differentiate twice a function that was marked with "
            "@once_differentiable"
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``backward`` that is not written with tensor operations: it is never recorded.

    As ``torch.autograd.function.once_differentiable``. Differentiating its gradients again raises
    an error instead of giving wrong numbers.
    """

    @wraps(backward)
    def wrapper(ctx: FunctionCtx, *grad_outputs: Tensor | None) -> Any:
        context = ctx._waiting()
        recording = context is not None and context.grad_enabled
        with no_grad():
            returned = backward(ctx, *grad_outputs)
        if not recording:
            return returned
        several = isinstance(returned, (tuple, list))
        gradients = list(returned) if several else [returned]
        made = [g for g in gradients if is_tensor(g)]
        if made:
            sources = [g for g in grad_outputs if g is not None]
            out = _OnceDifferentiated.apply(ctx._name, len(made), *made, *ctx._inputs(), *sources)
            recorded = iter(out)
            gradients = [next(recorded) if is_tensor(g) else g for g in gradients]
        return tuple(gradients) if several else gradients[0]

    return wrapper
