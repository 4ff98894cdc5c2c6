"""Differentiation: gradients, and what is recorded for them."""

from tinytape.autograd.backward import grad, run_backward
from tinytape.autograd.grad_mode import (
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = ["enable_grad", "grad", "is_grad_enabled", "no_grad", "run_backward", "set_grad_enabled"]
