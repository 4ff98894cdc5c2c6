"""The numpy transformer judges itself by central differences, then judges the engine."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.models import GPT, GPTConfig
from tinytape.nn import functional as F
from tinytape.nn.utils import clip_grad_norm_

from ..support.reference import transformer as ref

SIZE = ref.Size(vocab=11, context=12, width=16, heads=4, layers=2)
STEPS, BATCH, MAX_NORM = 10, 4, 0.5


def batches(size: ref.Size, steps: int, seed: int = 7):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        window = rng.integers(0, size.vocab, (BATCH, size.context + 1))
        yield window[:, :-1], window[:, 1:]


def test_reference_backward_is_the_central_difference():
    size = ref.Size(vocab=5, context=4, width=4, heads=2, layers=1)
    weights = ref.random_weights(size, seed=0)
    idx, targets = next(batches(size, 1))
    idx, targets = idx[:, :3], targets[:, :3]  # shorter than the context: the last position is idle
    _, grads = ref.loss_and_grads(weights, size, idx, targets)
    h = 1e-5
    for name, weight in weights.items():
        for at in np.ndindex(weight.shape):
            kept = weight[at]
            weight[at] = kept + h
            above, _ = ref.loss_and_grads(weights, size, idx, targets)
            weight[at] = kept - h
            below, _ = ref.loss_and_grads(weights, size, idx, targets)
            weight[at] = kept
            assert grads[name][at] == pytest.approx((above - below) / (2 * h), abs=2e-9), (name, at)
    assert all(np.abs(g).max() > 1e-4 for g in grads.values())


def test_reference_adamw_first_step_by_hand():
    weights, grads = {"w": np.array([2.0, -1.0])}, {"w": np.array([3.0, 4.0])}
    assert ref.clip_grad_norm(grads, 2.5) == 5.0
    np.testing.assert_allclose(grads["w"], [1.5, 2.0], rtol=1e-6)
    # The bias-corrected moments of the first step are g and g^2, so each step is lr * sign(g).
    ref.AdamW(lr=0.1, weight_decay=0.5).step(weights, grads)
    np.testing.assert_allclose(weights["w"], [2.0 * 0.95 - 0.1, -1.0 * 0.95 - 0.1], rtol=1e-7)


def key_bias(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the entries that are a key's bias: the middle third of every qkv bias."""
    mask = np.zeros(shape, dtype=bool)
    if name.endswith("qkv.bias"):
        mask[shape[0] // 3 : 2 * shape[0] // 3] = True
    return mask


def distance(got: np.ndarray, expected: np.ndarray, mask: np.ndarray | None = None) -> float:
    """max |got - expected| / max |expected| over one weight tensor."""
    difference = np.abs(got.astype(np.float64) - expected)
    if mask is not None:
        difference = difference[~mask]
    return float(difference.max() / np.abs(expected).max())


def ten_steps(dtype_name: str, eps: float):
    """Run both sides from the same weights: (losses, losses, weights, weights, start)."""
    options = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": eps, "weight_decay": 0.1}
    # float32 can hold the start exactly, so that both sides really have the same weights.
    start = {
        name: weight.astype(np.float32).astype(np.float64)
        for name, weight in ref.random_weights(SIZE, seed=3).items()
    }
    expected = {name: weight.copy() for name, weight in start.items()}
    judge = ref.AdamW(**options)

    model = GPT(
        GPTConfig(SIZE.vocab, SIZE.context, SIZE.width, SIZE.heads, SIZE.layers),
        dtype=getattr(tt, dtype_name),
    )
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == SIZE.shapes()
    model.load_state_dict(start)
    optimizer = tt.optim.AdamW(model.parameters(), **options)

    losses, expected_losses = [], []
    for x, y in batches(SIZE, STEPS):
        expected_loss, grads = ref.loss_and_grads(expected, SIZE, x, y)
        assert ref.clip_grad_norm(grads, MAX_NORM) > MAX_NORM, "clipping must be at work"
        judge.step(expected, grads)
        expected_losses.append(expected_loss)

        logits = model(tt.tensor(x))
        loss = F.cross_entropy(logits.reshape(-1, SIZE.vocab), tt.tensor(y.reshape(-1)))
        loss.backward()
        clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    got = {name: value.numpy() for name, value in model.state_dict().items()}
    return np.array(losses), np.array(expected_losses), got, expected, start


@pytest.mark.parametrize("eps", [1e-8, 1e-5])
def test_ten_adamw_steps_in_float64(eps):
    losses, expected_losses, got, expected, start = ten_steps("float64", eps)
    assert np.abs(losses / expected_losses - 1).max() < 1e-9
    for name in expected:
        assert got[name].dtype == np.float64
        assert distance(got[name], expected[name]) < 1e-9, name
        # Every weight moved by much more than the tolerance, so agreement means something.
        assert np.abs(expected[name] - start[name]).max() > 1e-3, name


@pytest.mark.parametrize("eps", [1e-8, 1e-5])
def test_ten_adamw_steps_in_float32(eps):
    """Relative to the largest weight of each tensor.

    A key's bias adds the same number to all scores of a row, which the softmax takes away: its true
    gradient is zero and what either side computes is rounding. With eps = 1e-8 Adam divides that
    rounding by itself, so in float32 those entries are noise by nature and are left out of the
    comparison; with eps = 1e-5 nothing is left out.
    """
    losses, expected_losses, got, expected, start = ten_steps("float32", eps)
    assert np.abs(losses / expected_losses - 1).max() < 1e-4
    for name in expected:
        assert got[name].dtype == np.float32
        noise = key_bias(name, expected[name].shape) if eps < 1e-6 else None
        assert distance(got[name], expected[name], noise) < 1e-4, name
        if noise is not None and noise.any():
            # At most lr per step, plus the decay.
            moved = np.abs(got[name] - start[name])[noise].max()
            assert moved < STEPS * 1e-3 * (1 + 0.1 * np.abs(start[name]).max()) * 1.01
