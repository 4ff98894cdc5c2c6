"""A network that notes the inputs of its matrices."""

from __future__ import annotations

import numpy as np

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F


class Net(nn.Module):
    """Has matrices of every kind (linear, fused, recurrent), and parameters of other kinds."""

    def __init__(self, dtype=tt.float64) -> None:
        super().__init__()
        generator = tt.Generator(3)
        options = {"dtype": dtype, "generator": generator}
        self.embedding = nn.Embedding(7, 4, **options)
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, **options)
        self.cell = nn.LSTMCell(5, 5, **options)
        self.up = nn.Linear(5, 6, **options)
        self.down = nn.Linear(6, 5, bias=False, **options)
        self.head = nn.Linear(5, 7, **options)
        self.seen: dict[str, list[np.ndarray]] = {}

    def forward(self, tokens):
        """Also notes, for each matrix, the rows that it was multiplied with."""
        x = self.embedding(tokens)
        batch = x.shape[0]
        zeros = np.zeros((batch, 1, 5))
        below, _ = nn.functional.lstm(
            x, self._zero(batch), *(getattr(self.lstm, f"{n}_l0") for n in WEIGHTS), True
        )
        y, (h, c) = self.lstm(x)
        self._see("lstm.weight_ih_l0", x)
        self._see("lstm.weight_hh_l0", np.concatenate([zeros, below.numpy()[:, :-1]], 1))
        self._see("lstm.weight_ih_l1", below)
        self._see("lstm.weight_hh_l1", np.concatenate([zeros, y.numpy()[:, :-1]], 1))
        self._see("cell.weight_ih", y[:, -1])
        self._see("cell.weight_hh", h[1])
        state, _ = self.cell(y[:, -1], (h[1], c[1]))
        y = y + state.unsqueeze(1)
        hidden = F.linear_activation(y, self.up.weight, self.up.bias, activation="gelu")
        self._see("up.weight", y)
        self._see("down.weight", hidden)
        y = F.linear_add(y, hidden, self.down.weight)
        self._see("head.weight", y)
        return self.head(y)

    def _zero(self, batch):
        return tuple(tt.zeros(batch, 5, dtype=self.up.weight.dtype) for _ in range(2))

    def _see(self, name, rows):
        rows = np.asarray(rows).reshape(-1, rows.shape[-1])
        self.seen.setdefault(name, []).append(rows)

    def rows(self, name):
        return np.concatenate(self.seen[name])


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
MATRICES = [
    *(f"lstm.weight_{kind}_l{k}" for k in range(2) for kind in ("ih", "hh")),
    *("cell.weight_ih", "cell.weight_hh", "up.weight", "down.weight", "head.weight"),
]


def batch(seed: int, rows: int = 3, steps: int = 4):
    rng = np.random.default_rng(seed)
    return tt.tensor(rng.integers(0, 7, (rows, steps))), tt.tensor(rng.integers(0, 7, rows * steps))


def add_gradients(net: nn.Module, seed: int, rows: int = 3) -> None:
    tokens, targets = batch(seed, rows)
    F.cross_entropy(net(tokens).reshape(-1, 7), targets).backward()
