"""GELU for those who differentiate twice: its slope and its curvature are found once."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Function, no_grad
from ..autograd.function import once_differentiable
from ..functional import erf, exp
from ..nn import functional as F
from ..tensor import Tensor

Curve = tuple[Tensor, Tensor]


def bending_gelu(z: Tensor) -> Tensor:
    """gelu(z), exact; the same numbers as ``F.gelu``, with fewer passes over memory in a backward
    pass under ``create_graph`` and in the one through it. Where there is none of these ``F.gelu``,
    or ``F.linear_activation``, is quicker.

    With P the normal distribution and p its density: gelu(z) = z P(z), its slope is P(z) + z p(z)
    and its curvature (2 - z^2) p(z).
    """
    out: Tensor = _Gelu.apply(z)
    return out


class _Gelu(Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        ctx.curve = None
        return F.gelu(z)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        if ctx.curve is None:
            ctx.curve = _slope_and_curvature(z)
        dz: Tensor = _TimesSlope.apply(dy, z, ctx.curve)
        return dz


class _TimesSlope(Function):
    """dy times the slope at z, where the slope changes with z by the curvature. A third
    differentiation would need more: it is refused."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, z: Tensor, curve: Curve) -> Tensor:
        ctx.save_for_backward(dy)
        ctx.curve = curve  # constants of no graph: saving them would copy them
        return dy * curve[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor, None]:
        (dy,) = ctx.saved_tensors
        slope, curvature = ctx.curve
        return d * slope, d * dy * curvature, None


def _slope_and_curvature(z: Tensor) -> Curve:
    """Of gelu at z."""
    with no_grad():
        square = z * z
        density = exp(square * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
        curvature = (2.0 - square) * density
        del square
        return erf(z * math.sqrt(0.5)) * 0.5 + 0.5 + z * density, curvature
