"""The cases in PyTorch at its best: fused AdamW, fused attention, gradients set to None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .cases import ALPHABET, LSTM_PARAMETERS
from .inputs import Arrays, Tokens, adam_weights, gpt_weights, lstm_weights, op_inputs

Step = Callable[[], Any]
_compiled = False


def start(threads: int, compiled: bool) -> dict[str, Any]:
    global _compiled
    _compiled = compiled
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    return {
        "torch": torch.__version__,
        "torch_blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "torch_cpu": torch.backends.cpu.get_cpu_capability(),
    }


def stats() -> dict[str, int]:
    return {}


def _maybe_compiled(function: Any, wrapper: bool = True) -> Any:
    """Compiled if this is that engine; `wrapper`: glue in C++ too, quicker but slow to build."""
    if not _compiled:
        return function
    torch._dynamo.reset()  # nothing is carried over from the case before
    return torch.compile(function, dynamic=False, options={"cpp_wrapper": wrapper})


def _load(model: nn.Module, weights: Arrays) -> None:
    model.load_state_dict({name: torch.from_numpy(a) for name, a in weights.items()})


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(C, dim=-1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))

    def decode(
        self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor, at: Any, seen: Any
    ) -> torch.Tensor:
        """One position. Compiled, the mask `seen` keeps shapes fixed; eager, a slice is quicker."""
        C = x.shape[-1]
        q, new_k, new_v = self.qkv(x).view(3, 1, self.heads, 1, C // self.heads).unbind(0)
        if isinstance(at, int):
            k[:, :, at] = new_k[:, :, 0]
            v[:, :, at] = new_v[:, :, 0]
            y = F.scaled_dot_product_attention(q, k[:, :, : at + 1], v[:, :, : at + 1])
        else:
            k.index_copy_(2, at, new_k)
            v.index_copy_(2, at, new_v)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.proj(y.reshape(1, 1, C))


class MLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden)
        self.proj = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(F.gelu(self.fc(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, sizes: dict[str, Any]) -> None:
        super().__init__()
        C = sizes["width"]
        self.token_embedding = nn.Embedding(sizes["vocab_size"], C)
        self.position_embedding = nn.Embedding(sizes["context"], C)
        self.blocks = nn.ModuleList(Block(C, sizes["heads"]) for _ in range(sizes["layers"]))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, sizes["vocab_size"])
        _load(self, gpt_weights(sizes))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def decode(self, token: torch.Tensor, at: Any, seen: Any, caches: Any) -> torch.Tensor:
        """The most likely token after `token`, which is at position `at`."""
        x = (self.token_embedding(token) + self.position_embedding.weight[at]).view(1, 1, -1)
        for block, (k, v) in zip(self.blocks, caches, strict=True):
            x = x + block.attention.decode(block.norm1(x), k, v, at, seen)
            x = x + block.mlp(block.norm2(x))
        return self.head(self.norm(x)).view(-1).argmax().view(1)


def gpt(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = GPT(sizes)
    vocabulary = sizes["vocab_size"]
    tokens = Tokens(ids, vocabulary)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def loss_of(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x).view(-1, vocabulary), y.view(-1))

    loss_of = _maybe_compiled(loss_of)

    def step() -> float:
        x, y = tokens.windows(sizes["batch"], sizes["context"])
        loss = loss_of(torch.from_numpy(x), torch.from_numpy(y))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


class CharacterLSTM(nn.Module):
    def __init__(self, vocabulary: int, width: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width)
        self.ff1 = MLP(width, 2 * width)
        self.ff2 = MLP(width, 2 * width)
        self.head = nn.Linear(width, vocabulary)
        _load(self, lstm_weights(vocabulary, width))

    def forward(self, x: torch.Tensor, state: Any) -> Any:
        y, state = self.lstm(self.embedding(x), state)
        return self.head(self.ff2(self.ff1(y))), state


def lstm(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = CharacterLSTM(ALPHABET)
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == LSTM_PARAMETERS
    tokens = Tokens(ids, ALPHABET)
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    batch = sizes["batch"]
    state = torch.zeros(1, batch, 256), torch.zeros(1, batch, 256)

    def loss_of(x: torch.Tensor, y: torch.Tensor, state: Any) -> Any:
        logits, state = model(x, state)
        return F.cross_entropy(logits.view(-1, ALPHABET), y.view(-1)), state

    loss_of = _maybe_compiled(loss_of)

    def step() -> float:
        nonlocal state
        x, y = tokens.lanes(batch, sizes["length"])
        loss, (h, c) = loss_of(torch.from_numpy(x), torch.from_numpy(y), state)
        state = h.detach(), c.detach()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def generate(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    model = GPT(sizes).eval()
    T, H = sizes["context"], sizes["heads"]
    shape = (1, H, T, sizes["width"] // H)
    caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(sizes["layers"])]
    decode = _maybe_compiled(model.decode)
    positions: list[Any] = list(torch.arange(T).view(T, 1)) if _compiled else list(range(T))
    seen: list[Any] = list(torch.tril(torch.ones(T, T, dtype=torch.bool)).view(T, 1, 1, 1, T))
    first = torch.zeros(1, dtype=torch.int64)

    @torch.inference_mode()
    def step() -> float:
        token = first
        made = []
        for at in range(T):
            token = decode(token, positions[at], seen[at], caches)
            made.append(int(token))  # the text is to be seen as it grows
        return float(made[-1])

    return step


def _adam(of: str) -> Step:
    parameters = [nn.Parameter(torch.from_numpy(a.copy())) for a in adam_weights(of)]
    for p in parameters:
        p.grad = torch.full_like(p, 0.01)
    return torch.optim.AdamW(parameters, lr=1e-3, fused=True).step


def op(sizes: dict[str, Any], ids: np.ndarray) -> Step:
    name = sizes["op"]
    if name == "adam":
        return _adam(sizes["of"])
    arrays, dy_array, indices = op_inputs(sizes)
    inputs = [torch.from_numpy(a).requires_grad_() for a in arrays]
    dy = torch.from_numpy(np.asarray(dy_array))
    at = None if indices is None else torch.from_numpy(indices)
    forward: dict[str, Callable[..., torch.Tensor]] = {
        "add": lambda a, b: a + b,
        "matmul": torch.matmul,
        "layer_norm": lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b),
        "gelu": F.gelu,
        "softmax": lambda x: F.softmax(x, -1),
        "cross_entropy": lambda x: F.cross_entropy(x, at),
        "attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "embedding": lambda w: F.embedding(at, w),
    }
    function = _maybe_compiled(forward[name], wrapper=False)
    if name == "add":
        a, b = inputs
        if _compiled:
            return lambda: function(a, b)
        return lambda: a + b

    def step() -> None:
        function(*inputs).backward(dy)
        for x in inputs:
            x.grad = None

    return step
