"""In-place updates over lists of tensors, one call of the core each; PyTorch's ``_foreach_``."""

from __future__ import annotations

from collections.abc import Sequence

from tinytape._ffi import check, ffi, lib
from tinytape.context import current
from tinytape.tensor import Tensor


def _same_length(*lists: Sequence[Tensor]) -> int:
    lengths = {len(tensors) for tensors in lists}
    if len(lengths) != 1:
        raise ValueError(f"lists of tensors must be equally long, got {[len(t) for t in lists]}")
    return lengths.pop()


def adam_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """Step number `step` (from 1) of Adam, or of AdamW where the decay is decoupled.

    Kingma and Ba (2015), algorithm 1; Loshchilov and Hutter (2019), algorithm 2.
    """
    n = _same_length(params, grads, exp_avgs, exp_avg_sqs)
    context = current()
    context.enter()
    lists = [context.handles(t) for t in (params, grads, exp_avgs, exp_avg_sqs)]
    status = lib.tt_adam(
        context.pointer, n, *lists, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
    )
    check(status)


def sgd_(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor] | None,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of SGD; `first` fills the momentum buffers with the plain gradients."""
    n = _same_length(params, grads, *([] if momentum_buffers is None else [momentum_buffers]))
    context = current()
    context.enter()
    buffers = ffi.NULL if momentum_buffers is None else context.handles(momentum_buffers)
    lists = [context.handles(params), context.handles(grads), buffers]
    status = lib.tt_sgd(
        context.pointer, n, *lists, lr, momentum, dampening, weight_decay, nesterov, maximize, first
    )
    check(status)


def add_(target: Tensor, other: Tensor, alpha: float = 1.0) -> None:
    """target += alpha * other, for a leaf."""
    _descend(target, other, lr=-alpha, weight_decay=0.0)


def lerp_(target: Tensor, end: Tensor, weight: float) -> None:
    """target += weight * (end - target), for a leaf."""
    _descend(target, end, lr=-weight, weight_decay=-1.0)


def scale_(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiply leaves by a number."""
    context = current()
    context.enter()
    check(lib.tt_scale(context.pointer, len(tensors), context.handles(tensors), float(factor)))


def _descend(target: Tensor, direction: Tensor, *, lr: float, weight_decay: float) -> None:
    sgd_(
        [target],
        [direction],
        None,
        lr=lr,
        momentum=0.0,
        dampening=0.0,
        weight_decay=weight_decay,
        nesterov=False,
        maximize=False,
        first=False,
    )


def grad_norm(grads: Sequence[Tensor], norm_type: float = 2.0) -> float:
    """The norm of all gradients together, summed in float64 in a fixed order."""
    context = current()
    context.enter()
    out = ffi.new("double *")
    check(
        lib.tt_grad_norm(context.pointer, len(grads), context.handles(grads), float(norm_type), out)
    )
    return float(out[0])


def clip_(grads: Sequence[Tensor], norm: float, max_norm: float) -> None:
    """Scale gradients of this norm by min(1, max_norm / (norm + 1e-6))."""
    factor = float(max_norm) / (norm + 1e-6)
    if not factor >= 1.0:
        scale_(grads, factor)
