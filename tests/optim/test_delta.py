"""The delta rules against numpy in float64, and their state."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn, optim

from ..core.test_memory import stay_flat
from ..support.watched_net import MATRICES, Net, add_gradients
from .test_optim import as_arrays, equal

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


MAKERS = {
    "DeltaRule": lambda net, inputs, params: optim.DeltaRule(
        params, lr=0.3, decay_rate=0.05, momentum=0.9, weight_decay=0.1, inputs=inputs
    ),
    "DGD": lambda net, inputs, params: optim.DGD(params, lr=0.2, erase_rate=0.6, inputs=inputs),
    "DeltaAdam": lambda net, inputs, params: optim.DeltaAdam(
        params, lr=0.01, decay_rate=0.05, betas=(0.8, 0.9), weight_decay=0.1, inputs=inputs
    ),
    "DeltaMomentum": lambda net, inputs, params: optim.DeltaMomentum(
        params, lr=0.2, momentum=0.7, erase_rate=0.5
    ),
    "Muon": lambda net, inputs, params: optim.Muon(
        [(n, p) for n, p in params if p.ndim == 2], lr=0.02
    ),
    "MuonWithAuxAdam": lambda net, inputs, params: optim.MuonWithAuxAdam(
        [
            {"params": [(n, p) for n, p in params if p.ndim == 2], "use_muon": True, "lr": 0.02},
            {"params": [(n, p) for n, p in params if p.ndim == 1], "use_muon": False},
        ]
    ),
}


def make(kind: str, net: Net, backwards: bool = False) -> optim.Optimizer:
    params = list(net.named_parameters())
    return MAKERS[kind](net, optim.LayerInputs(net), params[::-1] if backwards else params)


# --- the steps, by hand ---------------------------------------------------------------------------


def delta_rule_by_hand(w, g, x, state, *, step):
    g = g + 0.1 * w
    state["u"] = g if step == 1 else 0.9 * state["u"] + g
    erased = 0.0
    if x is not None:
        mean = x.mean(0)
        erased = 0.05 * w @ np.outer(mean, mean)
    return w - erased - 0.3 * state["u"]


def dgd_by_hand(w, g, x, state, *, step):
    if x is None:
        return w - 0.2 * g
    c = np.mean([np.outer(row, row) for row in x], 0)
    return w - 0.2 / (1 + 0.2 * np.trace(c)) * (0.6 * w @ c + g)


def delta_adam_by_hand(w, g, x, state, *, step):
    g = g + 0.1 * w
    state["m"] = 0.8 * state.get("m", 0) + 0.2 * g
    state["v"] = 0.9 * state.get("v", 0) + 0.1 * g**2
    m, v = state["m"] / (1 - 0.8**step), state["v"] / (1 - 0.9**step)
    erased = 0.0 if x is None else 0.05 * w @ np.mean([np.outer(row, row) for row in x], 0)
    return w - erased - 0.01 * m / (np.sqrt(v) + 1e-8)


def delta_momentum_by_hand(w, g, x, state, *, step):
    m = state.get("m", np.zeros_like(w))
    erased = m @ g.T @ g * 0.5 if g.ndim == 2 else 0.0
    state["m"] = 0.7 * m - erased - 0.2 * g
    return w + state["m"]


BY_HAND = {
    "DeltaRule": delta_rule_by_hand,
    "DGD": dgd_by_hand,
    "DeltaAdam": delta_adam_by_hand,
    "DeltaMomentum": delta_momentum_by_hand,
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_steps_by_hand(kind):
    net = Net()
    optimizer = make(kind, net)
    states: dict[str, dict] = {name: {} for name, _ in net.named_parameters()}
    for step in range(1, 5):
        net.seen.clear()
        for k in range(step):  # one batch, then two, ...
            add_gradients(net, 10 * step + k, rows=2 + k)
        for name in ("lstm.weight_ih_l0", "lstm.weight_hh_l0"):
            net.seen[name] *= 2
        named = dict(net.named_parameters())
        expected = {}
        for name, param in named.items():
            x = net.rows(name) if name in MATRICES else None
            w, g = param.numpy(), param.grad.numpy()
            expected[name] = BY_HAND[kind](w, g, x, states[name], step=step)
        optimizer.step()
        optimizer.zero_grad()
        for name, param in named.items():
            np.testing.assert_allclose(param.numpy(), expected[name], **CLOSE, err_msg=name)


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("erase_rate", [1.0, 0.3, 0.0])
def test_dgd_is_the_minimum_for_one_token_and_descends_for_many(rows, erase_rate):
    """Equation 56, minimised by solving for where its derivative is zero; float64."""
    layer = nn.Linear(4, 3, bias=False, dtype=tt.float64)
    x, target = RNG.standard_normal((rows, 4)), RNG.standard_normal((rows, 3))
    w, lr = layer.weight.numpy(), 0.7
    u = -2 * (x @ w.T - target)  # -dL/dy of L = |y - target|^2
    u += (1 - erase_rate) * x @ w.T

    def objective(v):
        return np.mean(np.sum((x @ v.T - u) ** 2, 1)) / 2 + np.sum((v - w) ** 2) / (2 * lr)

    inputs = optim.LayerInputs(layer)
    optimizer = optim.DGD([layer.weight], lr, erase_rate, inputs=inputs)
    (((layer(tt.tensor(x)) - tt.tensor(target)) ** 2).sum() / rows).backward()
    optimizer.step()
    got = layer.weight.numpy()
    best = np.linalg.solve(np.eye(4) + lr * x.T @ x / rows, (w + lr * u.T @ x / rows).T).T
    if rows == 1:
        np.testing.assert_allclose(got, best, rtol=1e-10, atol=1e-12)
    assert objective(best) <= objective(got) + 1e-12 and objective(got) < objective(w)
    slope = objective(w + 1.001 * (got - w)) - objective(w + 0.999 * (got - w))
    assert slope <= 1e-9  # not past the minimum along its way


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_delta_momentum_with_a_preconditioner_and_as_printed(shape):
    p = RNG.standard_normal((shape[0], shape[0]))
    param = nn.Parameter(tt.tensor(RNG.standard_normal(shape)))
    optimizer = optim.DeltaMomentum(
        [param], lr=0.1, precondition=lambda param, grad: tt.tensor(p) @ grad
    )
    w, m = param.numpy(), np.zeros(shape)
    for _ in range(4):
        g = RNG.standard_normal(shape) * 0.3
        param.grad = tt.tensor(g)
        optimizer.step()
        m = m @ (0.9 * np.eye(shape[1]) - g.T @ g) - 0.1 * p @ g
        w = w + m
        np.testing.assert_allclose(param.numpy(), w, **CLOSE)
        np.testing.assert_allclose(optimizer.state[param]["momentum_buffer"].numpy(), m, **CLOSE)
    for answer, kind, message in (
        (lambda param, grad: grad.t(), ValueError, "the gradient's shape"),
        (lambda param, grad: None, TypeError, "a Tensor of the gradient's shape .* got NoneType"),
        (lambda param, grad: grad.float(), TypeError, "gradient's dtype .*float64, got .*float32"),
    ):
        optimizer.precondition = answer
        with pytest.raises(kind, match=f"DeltaMomentum: .* to return .*{message}"):
            optimizer.step()
        np.testing.assert_allclose(param.numpy(), w, **CLOSE)
        np.testing.assert_allclose(optimizer.state[param]["momentum_buffer"].numpy(), m, **CLOSE)


def test_groups_have_their_own_rates():
    net = nn.Sequential(nn.Linear(3, 2, dtype=tt.float64), nn.Linear(2, 2, dtype=tt.float64))
    groups = [
        {"params": net[0].parameters(), "decay_rate": 0.0},
        {"params": net[1].parameters(), "decay_rate": 0.5},
    ]
    inputs = optim.LayerInputs(net)
    optimizer = optim.DeltaAdam(groups, lr=0.0, inputs=inputs)
    before = [layer.weight.numpy() for layer in net]
    net(tt.ones(1, 3, dtype=tt.float64)).sum().backward()
    optimizer.step()
    assert np.array_equal(net[0].weight.numpy(), before[0])
    assert not np.allclose(net[1].weight.numpy(), before[1])
    assert inputs.tokens(net[0].weight) == inputs.tokens(net[1].weight) == 0


# --- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("dtype", [tt.float32, tt.float64])
def test_resumed_in_the_middle_of_an_accumulation(kind, dtype):
    def go(net, optimizer, first, last):
        for seed in range(first, last):  # a step after every third batch
            add_gradients(net, seed)
            if seed % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()

    whole = Net(dtype)
    optimizer = make(kind, whole)
    start = {name: value.numpy() for name, value in whole.state_dict().items()}
    go(whole, optimizer, 0, 5)
    weights = {name: value.numpy() for name, value in whole.state_dict().items()}
    assert not np.array_equal(weights["up.weight"], start["up.weight"])
    saved = as_arrays(optimizer.state_dict())
    grads = {name: param.grad.numpy() for name, param in whole.named_parameters()}
    go(whole, optimizer, 5, 9)

    again = Net(dtype)
    again.load_state_dict(weights)
    resumed = make(kind, again, backwards=True)
    resumed.load_state_dict(saved)
    for name, param in again.named_parameters():
        param.grad = tt.tensor(grads[name])
    go(again, resumed, 5, 9)
    for name, value in whole.state_dict().items():
        assert np.array_equal(again.state_dict()[name].numpy(), value.numpy()), name
    assert equal(
        as_arrays(resumed.state_dict())["state"], as_arrays(optimizer.state_dict())["state"]
    )
    if kind in ("DeltaRule", "DGD", "DeltaAdam"):
        assert saved["state"]["up.weight"]["tokens"] == 2 * 12
        what = "input_sum" if kind == "DeltaRule" else "input_products"
        assert saved["state"]["lstm.weight_hh_l0"][what].any()
        assert "tokens" not in saved["state"].get("embedding.weight", {})


@pytest.mark.parametrize("kind", MAKERS)
def test_memory_stays_flat(in_new_context, kind):
    def body():
        net = Net()
        optimizer = make(kind, net)

        def step():
            net.seen.clear()
            for seed in range(2):
                add_gradients(net, seed)
            optimizer.step()
            optimizer.zero_grad()

        stay_flat(step)

    in_new_context(body)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_threads_do_not_show(kind, threads):
    results = []
    for count in (1, 2, 3):
        threads(count)
        layer = nn.Linear(70, 150, generator=tt.Generator(1))
        inputs = optim.LayerInputs(layer)
        optimizer = MAKERS[kind](layer, inputs, list(layer.named_parameters()))
        x = tt.tensor(np.random.default_rng(0).standard_normal((400, 70)), dtype=tt.float32)
        for _ in range(2):
            (layer(x) ** 2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        results.append(layer.weight.numpy())
    assert all(np.array_equal(results[0], other) for other in results[1:])


# --- refusals -------------------------------------------------------------------------------------


def test_refusals():
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="LayerInputs: expected a Module, got list"):
        optim.LayerInputs([layer])
    with pytest.raises(ValueError, match="got a LayerNorm without any"):
        optim.LayerInputs(nn.LayerNorm(3))
    inputs = optim.LayerInputs(layer)
    with pytest.raises(ValueError, match=r"shape \(2,\) is no weight .*these are: weight"):
        inputs.mean(layer.bias)
    with pytest.raises(ValueError, match="no optimiser asked for the input_sum of 'weight'"):
        inputs.mean(layer.weight)
    for kind in (optim.DeltaRule, optim.DGD, optim.DeltaAdam):
        with pytest.raises(TypeError, match=rf"{kind.__name__}: .* optim.LayerInputs\(model\)"):
            kind(layer.parameters(), inputs=layer)
        with pytest.raises(ValueError, match=f"{kind.__name__}: expected lr >= 0, got -1"):
            kind(layer.parameters(), lr=-1, inputs=inputs)
    for kind in (optim.DeltaRule, optim.DeltaAdam):
        with pytest.raises(ValueError, match="expected decay_rate >= 0, got nan"):
            kind(layer.parameters(), decay_rate=float("nan"), inputs=inputs)
    with pytest.raises(ValueError, match="DGD: expected erase_rate >= 0, got -2"):
        optim.DGD(layer.parameters(), erase_rate=-2, inputs=inputs)
    for options, message in (
        ({"momentum": -1}, "momentum >= 0"),
        ({"erase_rate": -1}, "erase_rate >= 0"),
    ):
        with pytest.raises(ValueError, match=rf"DeltaMomentum: expected {message}"):
            optim.DeltaMomentum(layer.parameters(), **options)
    with pytest.raises(TypeError, match=r"expected precondition to be a function .* got int"):
        optim.DeltaMomentum(layer.parameters(), precondition=1)


@pytest.mark.parametrize("kind", ["DeltaRule", "DGD", "DeltaAdam"])
def test_a_gradient_without_inputs_is_refused_and_changes_nothing(kind):
    net = Net()
    optimizer = make(kind, net)
    net.eval()
    add_gradients(net, 1)
    before = [param.numpy() for param in net.parameters()]
    with pytest.raises(RuntimeError, match=r"inputs of 'lstm.weight_ih_l0' .* got none: .* eval"):
        optimizer.step()
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, net.parameters(), strict=True))


def test_momentum_may_be_switched_on_after_the_start():
    starts, results = RNG.standard_normal((2, 3)), []
    for switched in (False, True):
        layer = nn.Linear(3, 2, bias=False, dtype=tt.float64)
        layer.weight.detach().copy_(starts)
        inputs = optim.LayerInputs(layer)
        momentum = 0.0 if switched else 0.9
        optimizer = optim.DeltaRule([layer.weight], lr=0.1, momentum=momentum, inputs=inputs)
        optimizer.param_groups[0]["momentum"] = 0.9
        for _ in range(3):
            (layer(tt.ones(1, 3, dtype=tt.float64)) ** 2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        results.append(layer.weight.numpy())
    assert np.array_equal(*results) and not np.array_equal(results[0], starts)
