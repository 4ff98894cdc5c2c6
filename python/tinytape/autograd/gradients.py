"""Gradients: one pass backwards, into ``.grad`` or returned.

>>> x = tt.tensor([1.0, 2.0], requires_grad=True)
>>> (slope,) = tt.grad((x * x * x).sum(), x, create_graph=True)
>>> slope.tolist()
[3.0, 12.0]
>>> tt.grad(slope.sum(), x)[0].tolist()
[6.0, 12.0]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from tinytape._ffi import binding, lib
from tinytape._pytorch import refuse_others
from tinytape.context import Context
from tinytape.creation import zeros_like
from tinytape.errors import ArgumentError, TapeStateError
from tinytape.functional._apply import is_tensor

if TYPE_CHECKING:
    from tinytape.tensor import Tensor

Tensors: TypeAlias = "Tensor | Sequence[Tensor]"
Gradients: TypeAlias = "Tensor | Sequence[Tensor | None] | None"


def run_backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    retain_graph: bool,
    create_graph: bool,
) -> list[Tensor | None]:
    """One backward pass: without inputs into ``.grad`` of the leaves, else into the returned list.

    Args:
        outputs: recorded tensors, of one thread.
        gradients: the gradient of each output, of its shape, or None for a single element.
        inputs: the tensors whose gradients are returned, each of its tensor's shape.
        retain_graph: keep the graph for another pass.
        create_graph: record the pass itself.

    Raises:
        RuntimeError: when nothing here requires a gradient, or the graph was released already.
    """
    for given in (*outputs, *gradients, *inputs):
        if given is not None and not is_tensor(given):
            raise TypeError(f"backward: expected a Tensor, got {type(given).__name__}")
    context = outputs[0]._context
    try:
        return binding.backward(
            context,
            list(outputs),
            list(gradients),
            list(inputs),
            retain_graph,
            create_graph,
            _answer,
        )
    finally:
        if context.attached or context.lingering:
            context.forget_ended()


def _answer(context: Context) -> tuple[str, list[Tensor | None]]:
    """The answer of the hook or Function that the pass waits for."""
    number = lib.tt_paused_id(context.pointer)
    waited_for = context.attached.get(number) or context.leaf_hooks.get(number)
    if waited_for is None:
        return "register_hook", [None]
    answer: tuple[str, list[Tensor | None]] = waited_for.answer(context)
    return answer


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _lists(
    name: str, outputs: Tensors, grad_outputs: Gradients, given: str
) -> tuple[list[Tensor], list[Tensor | None]]:
    output_list = _listed(outputs)
    gradients = [None] * len(output_list) if grad_outputs is None else _listed(grad_outputs)
    if len(gradients) != len(output_list):
        raise ArgumentError(f"{name}: got {len(gradients)} {given} for {len(output_list)} outputs")
    return output_list, gradients


def backward(
    tensors: Tensors,
    grad_tensors: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Add the gradients of tensors, summed, to ``.grad`` of the leaves they were computed from.

    As ``torch.autograd.backward``, but without ``create_graph``.

    Args:
        grad_tensors: the gradient of each tensor, of its shape; not needed for single elements.
        retain_graph: keep the graph for another pass. Otherwise its memory is given back.
        create_graph: refused: a gradient that carries a graph is returned, never stored; use
            :func:`grad`.
        inputs: the tensors whose ``.grad`` is wanted, results among them; all leaves when left out.

    Raises:
        RuntimeError: when nothing here requires a gradient, the graph was released already, or a
            hook or Function of another pass calls this.
        ArgumentError: for no tensors, no inputs, or another number of gradients than of tensors.
    """
    roots, gradients = _lists("backward", tensors, grad_tensors, "grad_tensors")
    if not roots:
        raise ArgumentError("backward: expected at least one tensor")
    if inputs is None or create_graph:
        run_backward(roots, gradients, [], bool(retain_graph), create_graph)
        return
    wanted = _listed(inputs)
    if not wanted:
        raise ArgumentError("backward: inputs cannot be empty")
    for given in wanted:
        if not is_tensor(given):
            raise TypeError(f"backward: expected a Tensor, got {type(given).__name__}")
        given.retain_grad()
    once = list({x._handle: x for x in wanted}.values())
    results = run_backward(roots, gradients, once, bool(retain_graph), False)
    pairs = [(x, g) for x, g in zip(once, results, strict=True) if g is not None and x.is_leaf]
    # Every sum is made before the first is stored: running out of memory changes nothing.
    sums = [None if x.grad is None else (x.grad.detach() + g).detach() for x, g in pairs]
    for (x, g), total in zip(pairs, sums, strict=True):
        if total is None or x.grad is None:
            x.grad = g
        else:
            x.grad.copy_(total)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Gradients = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs, summed, with respect to inputs. Touches no ``.grad``.

    As ``torch.autograd.grad``. Each gradient has the shape of its input.

    Args:
        grad_outputs: the gradient of each output, of its shape; not needed for single elements.
        retain_graph: keep the graph for another pass; as create_graph when left out.
        create_graph: record the pass itself, so that the returned gradients can be differentiated.
        only_inputs, is_grads_batched: PyTorch's; anything but their defaults raises.
        allow_unused: return None for an input that the outputs do not depend on; else raise.
        materialize_grads: return zeros for such an input.

    Raises:
        RuntimeError: when an input is unused, or the graph was released.
        ArgumentError: for no outputs or inputs, another number of gradients than of outputs, or
            options that are not supported.
    """
    options = {"only_inputs": only_inputs, "is_grads_batched": is_grads_batched}
    refuse_others("grad", options, *options)
    output_list, gradients = _lists("grad", outputs, grad_outputs, "grad_outputs")
    input_list: list[Tensor] = _listed(inputs)
    if not output_list or not input_list:
        raise ArgumentError("grad: expected at least one output and one input")
    if materialize_grads and allow_unused is False:
        raise ArgumentError("grad: materialize_grads gives unused inputs zeros: allow_unused=False")
    retain = create_graph if retain_graph is None else retain_graph
    results = run_backward(output_list, gradients, input_list, bool(retain), create_graph)
    if materialize_grads:
        pairs = zip(results, input_list, strict=True)
        return tuple(zeros_like(x) if g is None else g for g, x in pairs)
    for i, result in enumerate(results):
        if result is None and not allow_unused:
            raise TapeStateError(
                f"grad: input {i} of shape {input_list[i].shape} was not used in computing the "
                "outputs; pass allow_unused=True if that is intended"
            )
    return tuple(results)
