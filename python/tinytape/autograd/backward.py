"""Gradients: one pass backwards, and its functional form."""

from __future__ import annotations

from collections.abc import Sequence

from tinytape._ffi import check, ffi, lib
from tinytape.errors import ArgumentError, TapeStateError
from tinytape.tensor import Tensor


def run_backward(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    retain_graph: bool,
    create_graph: bool,
) -> list[Tensor | None]:
    """One backward pass: into ``.grad`` of the leaves without inputs, else to the returned list."""
    for given in (*outputs, *gradients, *inputs):
        if given is not None and not isinstance(given, Tensor):
            raise TypeError(f"backward: expected a Tensor, got {type(given).__name__}")
    context = outputs[0]._context
    context.enter()
    results = ffi.new("tt_handle[]", max(1, len(inputs)))
    check(
        lib.tt_backward(
            context.pointer,
            len(outputs),
            context.handles(outputs),
            context.handles(gradients),
            len(inputs),
            context.handles(inputs),
            retain_graph,
            create_graph,
            results,
        )
    )
    return [Tensor._wrap(context, h) if h else None for h in results[0 : len(inputs)]]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs, summed, with respect to inputs. Touches no ``.grad``.

    Args:
        grad_outputs: the gradient of each output, of its shape; not needed for single elements.
        retain_graph: keep the graph for another pass; as create_graph when left out.
        create_graph: record the pass itself, so that the returned gradients can be differentiated.
        allow_unused: return None for an input that the outputs do not depend on; else raise.

    Raises:
        RuntimeError: when an input is unused, or the graph was released.
    """
    output_list = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    input_list = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if grad_outputs is None:
        gradients: list[Tensor | None] = [None] * len(output_list)
    else:
        gradients = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    if not output_list or not input_list:
        raise ArgumentError("grad: expected at least one output and one input")
    if len(gradients) != len(output_list):
        raise ArgumentError(
            f"grad: got {len(gradients)} grad_outputs for {len(output_list)} outputs"
        )
    retain = create_graph if retain_graph is None else retain_graph
    results = run_backward(output_list, gradients, input_list, bool(retain), create_graph)
    for i, result in enumerate(results):
        if result is None and not allow_unused:
            raise TapeStateError(
                f"grad: input {i} of shape {input_list[i].shape} was not used in computing the "
                "outputs; pass allow_unused=True if that is intended"
            )
    return tuple(results)
