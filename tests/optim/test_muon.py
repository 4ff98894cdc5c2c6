"""Muon against numpy in float64; PyTorch's own differs from it by its bfloat16 only."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn, optim

RNG = np.random.default_rng(0)
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal_by_hand(u, coefficients=COEFFICIENTS, eps=1e-7, steps=5):
    a, b, c = coefficients
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / max(np.sqrt(np.sum(x * x)), eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if u.shape[0] > u.shape[1] else x


def muon_by_hand(
    w,
    grads,
    *,
    lr=1e-3,
    weight_decay=0.1,
    momentum=0.95,
    nesterov=True,
    ns_coefficients=COEFFICIENTS,
    eps=1e-7,
    ns_steps=5,
    adjust_lr_fn=None,
    row_blocks=1,
):
    buffer = np.zeros_like(w)
    for g in grads:
        buffer = momentum * buffer + (1 - momentum) * g
        u = (1 - momentum) * g + momentum * buffer if nesterov else buffer
        w = w * (1 - lr * weight_decay)
        steps = []
        for block in np.split(u, row_blocks):
            rows, columns = block.shape
            size = np.sqrt(max(1, rows / columns))
            if adjust_lr_fn == "match_rms_adamw":
                size = 0.2 * np.sqrt(max(rows, columns))
            steps.append(size * orthogonal_by_hand(block, ns_coefficients, eps, ns_steps))
        w = w - lr * np.concatenate(steps)
    return w, buffer


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.02, "weight_decay": 0.0},
        {"lr": 0.02, "nesterov": False, "momentum": 0.8},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw"},
        {"lr": 0.1, "adjust_lr_fn": "original", "ns_steps": 3, "ns_coefficients": (2, -1.5, 0.5)},
        {"lr": 0.1, "eps": 1e3},
        {"lr": 0.1, "row_blocks": 4},
        {"lr": 0.1, "row_blocks": 4, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.0},
    ],
)
@pytest.mark.parametrize("shape", [(12, 5), (8, 21), (4, 4), (12, 1)])
def test_steps_by_hand(shape, options):
    start = RNG.standard_normal(shape)
    grads = [RNG.standard_normal(shape) for _ in range(5)]
    param = nn.Parameter(tt.tensor(start))
    optimizer = optim.Muon([param], **options)
    for grad in grads:
        param.grad = tt.tensor(grad)
        optimizer.step()
    w, buffer = muon_by_hand(start, grads, **options)
    np.testing.assert_allclose(param.numpy(), w, rtol=1e-12, atol=1e-12)
    got = optimizer.state[param]["momentum_buffer"].numpy()
    np.testing.assert_allclose(got, buffer, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(64, 16), (16, 64)])
def test_an_update_has_singular_values_near_one(shape):
    param = nn.Parameter(tt.zeros(*shape))
    param.grad = tt.tensor(RNG.standard_normal(shape), dtype=tt.float32)
    optim.Muon([param], lr=1.0, adjust_lr_fn=None).step()
    size = np.sqrt(max(1, shape[0] / shape[1]))
    values = np.linalg.svd(param.numpy() / size, compute_uv=False)
    assert values.min() > 0.65 and values.max() < 1.25


def test_the_gates_of_an_lstm_each_by_itself():
    lstm = nn.LSTM(6, 5, num_layers=2, dtype=tt.float64)
    gates = [(n, p) for n, p in lstm.named_parameters() if p.ndim == 2]
    optimizer = optim.Muon([{"params": gates, "row_blocks": 4}], lr=0.1, weight_decay=0.0)
    before = {name: param.numpy() for name, param in gates}
    lstm(tt.tensor(RNG.standard_normal((7, 3, 6))))[0].sum().backward()
    optimizer.step()
    for name, param in gates:
        w, _ = muon_by_hand(
            before[name], [param.grad.numpy()], lr=0.1, weight_decay=0.0, row_blocks=4
        )
        np.testing.assert_allclose(param.numpy(), w, rtol=1e-10, atol=1e-10)


def test_zero_gradients_and_one_that_is_missing():
    params = [nn.Parameter(tt.ones(3, 2, dtype=tt.float64)) for _ in range(2)]
    params[0].grad = tt.zeros(3, 2, dtype=tt.float64)
    optim.Muon(params, lr=0.5, weight_decay=0.5).step()
    np.testing.assert_allclose(params[0].numpy(), np.full((3, 2), 0.75), rtol=1e-15)
    assert np.array_equal(params[1].numpy(), np.ones((3, 2)))


def test_refusals():
    net = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6))
    with pytest.raises(ValueError, match=r"Muon: .* 2 dimensions, got '0.bias' of shape \(6,\)"):
        optim.Muon(net.named_parameters())
    weight = [("0.weight", net[0].weight)]
    for options, message in (
        ({"row_blocks": 4}, r"'0.weight' of shape \(6, 3\) cannot be cut into row_blocks=4"),
        ({"row_blocks": 0}, "expected row_blocks >= 1, got 0"),
        ({"lr": -1}, "expected lr >= 0, got -1"),
        ({"momentum": -0.1}, r"expected momentum in \[0, 1\), got -0.1"),
        ({"momentum": 1.0}, r"expected momentum in \[0, 1\), got 1.0"),
        ({"momentum": 1.5}, r"expected momentum in \[0, 1\), got 1.5"),
        ({"momentum": float("nan")}, "got nan"),
        ({"ns_steps": 100}, "expected ns_steps from 0 to 99, got 100"),
        ({"ns_steps": 2.5}, "expected ns_steps from 0 to 99, got 2.5"),
        ({"ns_coefficients": (1, 2)}, r"ns_coefficients of three numbers, got \(1, 2\)"),
        ({"adjust_lr_fn": "adamw"}, "'match_rms_adamw', got 'adamw'"),
    ):
        with pytest.raises(ValueError, match=f"Muon: .*{message}"):
            optim.Muon(weight, **options)
    with pytest.raises(TypeError, match="Muon: foreach=True is not supported"):
        optim.Muon(weight, foreach=True)
    saved = optim.Muon(weight).state_dict()
    saved["param_groups"][0]["row_blocks"] = 5
    with pytest.raises(nn.StateDictError, match="row_blocks=5"):
        optim.Muon(weight).load_state_dict(saved)
    optim.Muon(weight, 1e-3, 0.1, 0.95, True, COEFFICIENTS, 1e-7, 5, None)  # PyTorch's order
