"""The levels of a nested model: a fast one with an LSTM, slower ones with a feed-forward net.

>>> from tinytape.nested.levels import FastLevel, FeedForward
>>> y, (h, c) = FastLevel(4, residual=True)(tt.zeros(2, 3, 4))
>>> y.shape, h.shape, FeedForward(4, 16)(y).shape
((2, 3, 4), (1, 2, 4), (2, 3, 4))
"""

from __future__ import annotations

from typing import Any

from ..creation import zeros
from ..errors import ShapeError
from ..nn import LSTM, LayerNorm, Linear, Module, Parameter
from ..nn import functional as F
from ..nn.recurrent import State
from ..random import Generator
from ..tensor import Tensor
from ._options import check_number

#: The names of the levels, from the fast one to the slow one.
LEVELS = ("level1_fast", "level2_medium", "level3_slow")


class FastLevel(LSTM):
    """One layer of LSTM of width C, batch first, with options.

    y = h, or with ``residual`` y = x + h, where h is the LSTM's output of x, or with ``norm`` of
    LayerNorm(x).

    Args:
        input_size: C, of x, of the state and of y.
        residual: add the input.
        norm: normalise the input of the LSTM.
        forget_bias: added to the forget gate's part of ``bias_ih_l0`` when it is drawn. At 0 a new
            cell forgets half of its content at each step, at 1 a quarter (Gers et al. 2000).
        dtype: of the parameters; float32 by default.
        generator: draws the initial values.

    Raises:
        ValueError: a forget_bias that is no finite number.
    """

    def __init__(
        self,
        input_size: int,
        *,
        residual: bool = False,
        norm: bool = False,
        forget_bias: float | None = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        if forget_bias is not None:
            forget_bias = check_number("FastLevel: expected forget_bias", forget_bias)
        self.__dict__["forget_bias"] = forget_bias  # before the first draw, which reads it
        super().__init__(input_size, input_size, batch_first=True, dtype=dtype, generator=generator)
        self.residual = residual
        self.norm = LayerNorm(input_size, dtype=dtype) if norm else None

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        super().reset_parameters(generator)
        norm = getattr(self, "norm", None)  # not there yet at the first draw
        if norm is not None:
            norm.reset_parameters()
        if self.forget_bias is not None:
            H, bias = self.hidden_size, self.bias_ih_l0.detach().numpy()
            bias[H : 2 * H] += self.forget_bias
            self.bias_ih_l0.detach().copy_(bias)

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """x (B, T, C) and (h, c), both (1, B, C) -> y (B, T, C) and the state after it."""
        x = input if self.norm is None else self.norm(input)
        out, state = super().forward(x, hx)
        return (input + out if self.residual else out), state


class FeedForward(Module):
    """C -> hidden -> GELU -> C: y = f(x), or with ``residual`` y = x + f(x).

    With ``norm`` the input of f is LayerNorm(x); with ``memory`` it is x + gain * m instead of x,
    where m is the model's memory of this level and ``memory_gain`` (C,) begins as zeros.

    Args:
        input_size: C.
        hidden_size: width between.
        residual, norm, memory: as above.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        residual: bool = False,
        norm: bool = False,
        memory: bool = False,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.norm = LayerNorm(input_size, dtype=dtype) if norm else None
        self.fc = Linear(input_size, hidden_size, dtype=dtype, generator=generator)
        self.proj = Linear(hidden_size, input_size, dtype=dtype, generator=generator)
        gain = Parameter(zeros(input_size, dtype=dtype)) if memory else None
        self.register_parameter("memory_gain", gain)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        self.fc.reset_parameters(generator)
        self.proj.reset_parameters(generator)
        if self.norm is not None:
            self.norm.reset_parameters()
        if self.memory_gain is not None:
            self.memory_gain.detach().zero_()

    def forward(
        self, input: Tensor, memory: Tensor | None = None, second_order: bool = False
    ) -> Tensor:
        """x (B, T, C) and m, if any, (B, 1, C) or (B, T, C) -> y (B, T, C).

        With ``second_order`` it keeps intermediate results that make differentiating twice cheaper.

        Raises:
            ShapeError: for an x of another shape.
        """
        x = input
        if memory is not None and self.memory_gain is not None:
            x = x + self.memory_gain * memory
        if self.norm is not None:
            x = self.norm(x)
        if second_order:
            hidden = F.gelu(self.fc(x))  # keeps z, which linear_activation would compute again
        else:
            hidden = F.linear_activation(x, self.fc.weight, self.fc.bias, activation="gelu")
        if self.residual:
            return F.linear_add(input, hidden, self.proj.weight, self.proj.bias)
        out: Tensor = self.proj(hidden)
        return out


def check_features(who: str, x: Any, input_size: int) -> None:
    """Check that x is a Tensor (B, T, input_size).

    Raises:
        ShapeError: for another shape.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{who}: expected a Tensor, got {type(x).__name__}")
    if x.ndim != 3 or x.shape[-1] != input_size:
        raise ShapeError(
            f"{who}: expected features of shape (B, T, {input_size}), got {tuple(x.shape)}"
        )
