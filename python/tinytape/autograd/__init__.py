"""Differentiation: gradients, whether operations are recorded, and user-defined backward rules.

>>> x = tt.tensor(3.0, requires_grad=True)
>>> (gradient,) = tt.autograd.grad(x * x, x)
>>> gradient.item()
6.0
"""

from tinytape.autograd.anomaly_mode import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from tinytape.autograd.check import GradcheckError, gradcheck, gradgradcheck
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
    "GradcheckError",
    "RemovableHandle",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "no_grad",
    "once_differentiable",
    "run_backward",
    "set_detect_anomaly",
    "set_grad_enabled",
]
