"""Functions that several test files use."""

from __future__ import annotations

import tinytape as tt
from tinytape.autograd import Function


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g


class Mixed(Function):
    """Two outputs, an argument that is no tensor, and a saved tensor that is neither."""

    @staticmethod
    def forward(ctx, x, power, w):
        inner = x * power
        ctx.save_for_backward(x, inner, None, w)
        ctx.power = power
        return inner * w, x + w

    @staticmethod
    def backward(ctx, g, h):
        x, inner, nothing, w = ctx.saved_tensors
        assert nothing is None and x.shape == w.shape
        return g * w * ctx.power + h, None, g * inner + h


class Add3(Function):
    """As its uses want it: see `rule`."""

    rule = staticmethod(lambda ctx, g: (g, g, g))

    @staticmethod
    def forward(ctx, a, b, c):
        return a + b + c if isinstance(c, tt.Tensor) else a + b

    @staticmethod
    def backward(ctx, g):
        return Add3.rule(ctx, g)
