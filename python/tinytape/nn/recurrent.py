"""Long short-term memory (Hochreiter and Schmidhuber 1997), over sequences and step by step.

>>> lstm = tt.nn.LSTM(3, 4, num_layers=2)
>>> output, (h, c) = lstm(tt.zeros(5, 1, 3))
>>> output.shape, h.shape
((5, 1, 4), (2, 1, 4))
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from .._pytorch import refuse_others
from ..creation import zeros
from ..errors import ArgumentError, ShapeError
from ..functional import stack
from ..random import Generator
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

State = tuple[Tensor, Tensor]


def _draw(module: Module, hidden_size: int, generator: Generator | None) -> None:
    """Every parameter from U(-k, k) with k = 1 / sqrt(hidden_size)."""
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0.0
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound, generator=generator)


def _check_input(name: str, input: Any, ndims: tuple[int, int], size: int) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: expected a Tensor, got {type(input).__name__}")
    if input.ndim not in ndims or input.shape[-1] != size:
        raise ShapeError(
            f"{name}: expected an input of {ndims[0]} or {ndims[1]} dimensions, the last of size "
            f"{size}, got shape {input.shape}"
        )


def _initial(name: str, hx: State | None, shape: tuple[int, ...], input: Tensor) -> State:
    """The state that was given, checked; or zeros."""
    if hx is None:
        h, c = (zeros(*shape, dtype=input.dtype) for _ in range(2))
        return h, c
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise ArgumentError(f"{name}: expected hx to be (h, c), got {type(hx).__name__}")
    for state, what in zip(hx, "hc", strict=True):
        if not isinstance(state, Tensor):
            raise TypeError(f"{name}: expected {what} to be a Tensor, got {type(state).__name__}")
        if state.shape != shape:
            raise ShapeError(f"{name}: expected {what} of shape {shape}, got {state.shape}")
    return hx[0], hx[1]


class LSTMCell(Module):
    """One step of an LSTM: see :func:`tinytape.nn.functional.lstm`.

    As ``torch.nn.LSTMCell``.

    Raises:
        ArgumentError: for a device other than the CPU.

    Args:
        input_size: I.
        hidden_size: H.
        bias: whether there are biases.
        device: None or the CPU.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values; ``tt.default_generator`` by default.

    Parameters: ``weight_ih`` (4H, I), ``weight_hh`` (4H, H), ``bias_ih`` and ``bias_hh`` (4H,),
    with the gates i, f, g, o side by side, all from U(-k, k) with k = 1 / sqrt(H).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        refuse_others("LSTMCell", {"device": device}, "device")
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.weight_ih = Parameter(zeros(4 * hidden_size, input_size, dtype=dtype))
        self.weight_hh = Parameter(zeros(4 * hidden_size, hidden_size, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(zeros(4 * hidden_size, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        _draw(self, self.hidden_size, generator)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """The next (h, c).

        Args:
            input: (N, I), or (I,) for a single sequence.
            hx: (h, c), both (N, H), or (H,); zeros unless given.

        Raises:
            ShapeError: where the shapes do not fit.
            ArgumentError: for an hx that is no pair.
        """
        _check_input("LSTMCell", input, (1, 2), self.input_size)
        state = _initial("LSTMCell", hx, (*input.shape[:-1], self.hidden_size), input)
        return F.lstm_cell(input, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def extra_repr(self) -> str:
        rest = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{rest}"


class LSTM(Module):
    """Layers of LSTM over a sequence, each reading the outputs of the one below.

    As ``torch.nn.LSTM``, in one direction and without projections.

    Raises:
        ArgumentError: for a number of layers below 1, a dropout outside [0, 1], or an option that
            is not supported.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: L, one or more.
        bias: whether there are biases.
        batch_first: whether input and output are (N, T, ...) instead of (T, N, ...); the states are
            (L, N, H) all the same.
        dropout: probability, in training, on the outputs of every layer but the last.
        bidirectional: not supported; True raises.
        proj_size: not supported; other than 0 raises.
        device: None or the CPU.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values and, in training, the dropout masks.

    Parameters, for each layer k: ``weight_ih_l{k}`` (4H, I, above the first layer 4H, H),
    ``weight_hh_l{k}`` (4H, H), ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (4H,), with the gates
    i, f, g, o side by side, all from U(-k, k) with k = 1 / sqrt(H).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        device: Any = None,
        dtype: Any = None,
        generator: Generator | None = None,
    ) -> None:
        refuse_others("LSTM", {"device": device}, "device")
        super().__init__()
        if num_layers < 1:
            raise ArgumentError(f"LSTM: expected num_layers >= 1, got {num_layers}")
        if not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"LSTM: expected dropout in [0, 1], got {dropout}")
        if bidirectional:
            raise ArgumentError("LSTM: bidirectional=True is not supported; leave it out")
        if proj_size != 0:
            raise ArgumentError(f"LSTM: expected proj_size 0, got {proj_size}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "LSTM: dropout acts between layers, and there is one layer only", stacklevel=2
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.generator = generator
        for k in range(num_layers):
            sizes = {
                "weight_ih": (4 * hidden_size, hidden_size if k else input_size),
                "weight_hh": (4 * hidden_size, hidden_size),
                "bias_ih": (4 * hidden_size,),
                "bias_hh": (4 * hidden_size,),
            }
            for name, shape in sizes.items():
                if bias or not name.startswith("bias"):
                    made = Parameter(zeros(*shape, dtype=dtype))
                    self.register_parameter(f"{name}_l{k}", made)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the initial values again."""
        _draw(self, self.hidden_size, generator)

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """The outputs of the last layer at every step, and the state of every layer after the last.

        Args:
            input: (T, N, I), with batch_first (N, T, I), or (T, I) for a single sequence.
            hx: (h_0, c_0), both (L, N, H), or (L, H); zeros unless given.

        Returns:
            output (T, N, H), (N, T, H) or (T, H), and (h_n, c_n), both (L, N, H) or (L, H).

        Raises:
            ShapeError: where the shapes do not fit.
            ArgumentError: for an hx that is no pair.
        """
        _check_input("LSTM", input, (2, 3), self.input_size)
        batched = input.ndim == 3
        batch_first = batched and self.batch_first
        x = input if batched else input.unsqueeze(1)
        batch = (x.shape[0 if batch_first else 1],) if batched else ()
        shape = (self.num_layers, *batch, self.hidden_size)
        h_0, c_0 = _initial("LSTM", hx, shape, input)
        if not batched:
            h_0, c_0 = h_0.unsqueeze(1), c_0.unsqueeze(1)
        last: list[State] = []
        for k in range(self.num_layers):
            if k > 0 and self.training and self.dropout > 0:
                x = F.dropout(x, self.dropout, training=True, generator=self.generator)
            x, state = F.lstm(x, (h_0[k], c_0[k]), *self._layer(k), batch_first)
            last.append(state)
        h_n, c_n = (
            (stack(states) if len(states) > 1 else states[0]).reshape(shape)
            for states in zip(*last, strict=True)
        )
        if not batched:
            x = x.squeeze(1)
        return x, (h_n, c_n)

    def _layer(self, k: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        w_ih, w_hh = getattr(self, f"weight_ih_l{k}"), getattr(self, f"weight_hh_l{k}")
        if not self.bias:
            return w_ih, w_hh, None, None
        return w_ih, w_hh, getattr(self, f"bias_ih_l{k}"), getattr(self, f"bias_hh_l{k}")

    def extra_repr(self) -> str:
        changed = {
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
        }
        rest = [f"{name}={now}" for name, (now, usual) in changed.items() if now != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *rest])
