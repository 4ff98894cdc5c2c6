"""Differentiation: gradients, what is recorded for them, and rules of one's own."""

from tinytape.autograd.function import Function, FunctionCtx, once_differentiable
from tinytape.autograd.grad_mode import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tinytape.autograd.gradients import backward, grad, run_backward
from tinytape.autograd.hooks import RemovableHandle

__all__ = [
    "Function",
    "FunctionCtx",
    "RemovableHandle",
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "run_backward",
    "set_grad_enabled",
]
