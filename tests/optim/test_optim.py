"""Optimisers against the published formulas in numpy float64, and their state by name."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn, optim

RNG = np.random.default_rng(0)
STEPS = 5


def adam_by_hand(w, grads, *, lr, betas, eps, weight_decay=0.0, decoupled=False, maximize=False):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            w = w * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        w = w - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return w, m, v


def sgd_by_hand(
    w, grads, *, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False
):
    buffer = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * w
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        w = w - lr * g
    return w, buffer


def setting(dtype: str = "float64"):
    """Two parameters and the gradients of some steps."""
    starts = [RNG.standard_normal(shape).astype(dtype) for shape in ((37, 3), (5,))]
    grads = [[RNG.standard_normal(w.shape).astype(dtype) for w in starts] for _ in range(STEPS)]
    params = [nn.Parameter(tt.tensor(w)) for w in starts]
    assert all(str(p.numpy().dtype) == dtype for p in params)
    return starts, grads, params


def drive(optimizer, params, grads) -> None:
    for step_grads in grads:
        for param, grad in zip(params, step_grads, strict=True):
            param.grad = tt.tensor(grad)
        optimizer.step()


ADAM_CASES = [
    {},
    {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3},
    {"lr": 0.1, "weight_decay": 0.3},
    {"lr": 0.1, "maximize": True},
]


@pytest.mark.parametrize("options", ADAM_CASES)
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam(kind, options):
    starts, grads, params = setting()
    optimizer = kind(params, **options)
    drive(optimizer, params, grads)
    decay = 1e-2 if kind is optim.AdamW else 0.0
    full = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": decay, **options}
    for i, param in enumerate(params):
        w, m, v = adam_by_hand(
            starts[i], [g[i] for g in grads], decoupled=kind is optim.AdamW, **full
        )
        np.testing.assert_allclose(param.numpy(), w, rtol=1e-12, atol=1e-13)
        state = optimizer.state[param]
        np.testing.assert_allclose(state["exp_avg"].numpy(), m, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(state["exp_avg_sq"].numpy(), v, rtol=1e-12, atol=1e-13)
        assert state["step"] == STEPS


def test_adamw_first_step_by_hand():
    param = nn.Parameter(tt.tensor([2.0, -1.0], dtype=tt.float64))
    param.grad = tt.tensor([3.0, -4.0], dtype=tt.float64)
    optim.AdamW([param], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(param.numpy(), [2.0 * 0.95 - 0.1, -1.0 * 0.95 + 0.1], rtol=1e-8)


def test_adam_can_decouple_its_decay():
    starts, grads, params = setting()
    drive(optim.Adam(params, weight_decay=0.1, decoupled_weight_decay=True), params, grads)
    twins = [nn.Parameter(tt.tensor(w)) for w in starts]
    drive(optim.AdamW(twins, weight_decay=0.1), twins, grads)
    for param, twin in zip(params, twins, strict=True):
        assert np.array_equal(param.numpy(), twin.numpy())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "weight_decay": 0.3},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "momentum": 0.5, "maximize": True},
    ],
)
def test_sgd(options):
    starts, grads, params = setting()
    optimizer = optim.SGD(params, **options)
    drive(optimizer, params, grads)
    for i, param in enumerate(params):
        w, buffer = sgd_by_hand(starts[i], [g[i] for g in grads], **{"lr": 1e-3, **options})
        np.testing.assert_allclose(param.numpy(), w, rtol=1e-12, atol=1e-13)
        if buffer is not None:
            got = optimizer.state[param]["momentum_buffer"].numpy()
            np.testing.assert_allclose(got, buffer, rtol=1e-12, atol=1e-13)


def test_float32_and_mixed_dtypes():
    starts, grads, params = setting("float32")
    wide = nn.Parameter(tt.tensor(starts[1].astype(np.float64)))
    for g in grads:
        g.append(g[1].astype(np.float64))
    drive(optim.AdamW([*params, wide], lr=0.01), [*params, wide], grads)
    options = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}
    steps = [g[2] for g in grads]
    w, _, _ = adam_by_hand(starts[1].astype(np.float64), steps, decoupled=True, **options)
    np.testing.assert_allclose(wide.numpy(), w, rtol=1e-12)
    np.testing.assert_allclose(params[1].numpy(), w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [optim.Adam, lambda p: optim.SGD(p, momentum=0.9)])
def test_a_parameter_without_gradient_stands_still_and_counts_its_own_steps(kind):
    _, grads, (first, second) = setting()
    optimizer = kind([first, second])
    before = second.numpy()
    first.grad = tt.tensor(grads[0][0])
    optimizer.step()
    assert np.array_equal(second.numpy(), before)
    assert [optimizer.state[p]["step"] for p in (first, second)] == [1, 0]
    second.grad = tt.tensor(grads[0][1])
    optimizer.step()
    assert [optimizer.state[p]["step"] for p in (first, second)] == [2, 1]
    alone = nn.Parameter(tt.tensor(before))
    alone.grad = tt.tensor(grads[0][1])
    kind([alone]).step()
    assert np.array_equal(second.numpy(), alone.numpy())


def test_groups_have_their_own_options():
    starts, grads, params = setting()
    optimizer = optim.SGD([{"params": [params[0]], "lr": 0.5}, {"params": params[1]}], lr=0.1)
    drive(optimizer, params, grads[:1])
    np.testing.assert_allclose(params[0].numpy(), starts[0] - 0.5 * grads[0][0], rtol=1e-13)
    np.testing.assert_allclose(params[1].numpy(), starts[1] - 0.1 * grads[0][1], rtol=1e-13)
    late = nn.Parameter(tt.zeros(2))
    optimizer.add_param_group({"params": [late], "momentum": 0.9})
    assert optimizer.state[late]["step"] == 0 and len(optimizer.param_groups) == 3
    assert "Parameter Group 2" in repr(optimizer) and "lr: 0.5" in repr(optimizer)


def test_zero_grad_closure_and_no_trace_on_the_tape():
    param = nn.Parameter(tt.tensor([3.0]))
    optimizer = optim.SGD([param], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (param * param).sum()
        loss.backward()
        return loss

    with tt.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 9.0
    assert param.item() == pytest.approx(2.4) and param.is_leaf and param.requires_grad
    optimizer.zero_grad(set_to_none=False)
    assert param.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert param.grad is None


# --- state, eager and by name ---------------------------------------------------------------------


def model(dtype=None) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.LayerNorm(4, dtype=dtype))


NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


def train(net: nn.Module, optimizer: optim.Optimizer, steps: int) -> None:
    x = tt.tensor(np.linspace(-1, 1, 6).reshape(2, 3), dtype=tt.float32)
    for _ in range(steps):
        out = net(x)
        (out * out * out).sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def as_arrays(state: dict) -> dict:
    """A snapshot as it would come from files: arrays, and everything else through JSON."""
    return {
        "state": {
            name: {k: v.numpy() if isinstance(v, tt.Tensor) else v for k, v in entry.items()}
            for name, entry in state["state"].items()
        },
        "param_groups": json.loads(json.dumps(state["param_groups"])),
    }


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        a[n].keys() == b[n].keys() and all(np.array_equal(a[n][k], b[n][k]) for k in a[n])
        for n in a
    )


def test_state_exists_before_the_first_step_and_is_keyed_by_name():
    net = model()
    for params in (net.parameters(), net.named_parameters(), [{"params": net.parameters()}]):
        saved = optim.AdamW(params).state_dict()
        assert list(saved["state"]) == NAMES
        assert saved["param_groups"][0]["params"] == NAMES
        for name, param in net.named_parameters():
            entry = saved["state"][name]
            assert list(entry) == ["step", "exp_avg", "exp_avg_sq"] and entry["step"] == 0
            assert entry["exp_avg"].shape == param.shape and not entry["exp_avg"].numpy().any()
    saved = optim.SGD(net.parameters(), momentum=0.9).state_dict()
    assert all(list(entry) == ["step", "momentum_buffer"] for entry in saved["state"].values())


def test_names_of_bare_and_of_clashing_parameters():
    bare = [nn.Parameter(tt.zeros(1)), tt.zeros(1, requires_grad=True)]
    assert list(optim.Adam(bare).state_dict()["state"]) == ["param_0", "param_1"]
    one, two, three = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)
    params = [*one.parameters(), *two.parameters(), *three.parameters()]
    names = ["weight", "bias", "weight#2", "bias#2", "weight#3", "bias#3"]
    assert list(optim.Adam(params).state_dict()["state"]) == names
    given = [("a", one.weight), ("b", two.weight)]
    assert list(optim.Adam(given).state_dict()["state"]) == ["a", "b"]


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.AdamW(params, lr=0.05),
        lambda params: optim.Adam(params, lr=0.05, betas=(0.8, 0.9)),
        lambda params: optim.SGD(params, lr=0.05, momentum=0.9, dampening=0.2),
        lambda params: optim.SGD(params, lr=0.05),
    ],
)
@pytest.mark.parametrize("done", [0, 3])
def test_resume_goes_on_with_the_same_bits(make, done):
    net = model()
    optimizer = make(net.parameters())
    train(net, optimizer, done)
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    saved = as_arrays(optimizer.state_dict())
    train(net, optimizer, 3)

    again = model()
    again.load_state_dict(weights)
    # The other way round: what belongs to whom is said by the names.
    resumed = make(reversed(list(again.named_parameters())))
    resumed.load_state_dict(saved)
    assert isinstance(resumed.param_groups[0].get("betas", ()), tuple)
    train(again, resumed, 3)
    for name, value in net.state_dict().items():
        assert np.array_equal(again.state_dict()[name].numpy(), value.numpy()), name
    assert equal(
        as_arrays(resumed.state_dict())["state"], as_arrays(optimizer.state_dict())["state"]
    )


def test_loading_takes_over_options():
    net = model()
    saved = optim.AdamW(net.parameters(), lr=0.5, betas=(0.1, 0.2)).state_dict()
    optimizer = optim.AdamW(net.parameters())
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["betas"] == (0.1, 0.2)
    assert optimizer.param_groups[0]["params"] == list(net.parameters())


def test_a_load_that_does_not_fit_names_everything_and_changes_nothing():
    net = model()
    optimizer = optim.AdamW(net.parameters())
    train(net, optimizer, 2)
    before = as_arrays(optimizer.state_dict())
    wrong = copy.deepcopy(before)
    state = wrong["state"]
    state["2.weight"] = state.pop("0.bias")
    state["0.weight"]["exp_avg"] = np.zeros((4, 4))
    state["1.bias"]["exp_avg_sq"] = np.zeros(4, dtype=np.int64)
    state["1.weight"]["step"] = -1
    state["1.weight"]["exp_avg"] += 1
    wrong["param_groups"][0]["lr"] = 9.0
    wrong["param_groups"][0]["params"] = [n for n in NAMES if n != "0.bias"] + ["2.weight"]
    with pytest.raises(nn.StateDictError) as caught:
        optimizer.load_state_dict(wrong)
    text = str(caught.value)
    assert isinstance(caught.value, ValueError)
    for part in (
        "Error(s) in loading state_dict for AdamW",
        "Missing state of parameter(s): 0.bias",
        "Unexpected state of parameter(s): 2.weight",
        "Missing parameter(s) in group 0: 0.bias",
        "Unexpected parameter(s) in group 0: 2.weight",
        "size mismatch for 0.weight.exp_avg",
        "(4, 4)",
        "(4, 3)",
        "dtype mismatch for 1.bias.exp_avg_sq",
        "bad value for 1.weight.step",
    ):
        assert part in text, part
    assert equal(as_arrays(optimizer.state_dict())["state"], before["state"])
    assert optimizer.param_groups[0]["lr"] == 1e-3

    with pytest.raises(nn.StateDictError, match=r"expected 1 parameter group\(s\), got 2"):
        optimizer.load_state_dict({**before, "param_groups": before["param_groups"] * 2})
    for options, message in (({"lr": -1.0}, "lr >= 0, got -1.0"), ({"betas": [2, 0]}, "betas")):
        group = {**before["param_groups"][0], **options}
        with pytest.raises(nn.StateDictError, match=f"bad option in group 0: .*{message}"):
            optimizer.load_state_dict({**before, "param_groups": [group]})
    with pytest.raises(nn.StateDictError, match=r"Missing option.s. in group 0: .*betas"):
        optimizer.load_state_dict(optim.SGD(net.parameters(), momentum=0.9).state_dict())
    with pytest.raises(
        nn.StateDictError, match=r"Missing key.s. in the state of 0.weight: exp_avg"
    ):
        lacking = copy.deepcopy(before)
        del lacking["state"]["0.weight"]["exp_avg"]
        optimizer.load_state_dict(lacking)


@pytest.mark.parametrize(
    "count", [-1, 0.5, 2**53 + 2, 2**63, 10**20, 1e20, math.inf, math.nan, "3", None, [1]]
)
def test_a_count_that_no_run_comes_to_is_refused(count):
    """The kernel takes it as an int64: what would not fit is refused where it is given."""
    param = nn.Parameter(tt.ones(2))
    optimizer = optim.Adam([param])
    state = optimizer.state_dict()
    state["state"]["param_0"]["step"] = count
    with pytest.raises(nn.StateDictError, match=r"bad value for param_0\.step: expected a count"):
        optimizer.load_state_dict(state)
    assert optimizer.state[param]["step"] == 0
    state["state"]["param_0"]["step"] = 2**53
    optimizer.load_state_dict(state)
    param.grad = tt.ones(2)
    optimizer.step()


# --- refusals -------------------------------------------------------------------------------------


def test_refusals():
    param = nn.Parameter(tt.zeros(1))
    with pytest.raises(TypeError, match="Adam: expected an iterable of parameters, got a Tensor"):
        optim.Adam(param)
    with pytest.raises(TypeError, match=r"expected Tensors or .* got int"):
        optim.Adam([1])
    with pytest.raises(ValueError, match="at least one parameter"):
        optim.SGD([])
    with pytest.raises(ValueError, match="more than once"):
        optim.SGD([param, param])
    with pytest.raises(ValueError, match="leaf"):
        optim.SGD([param * 2])
    for kind, options, message in (
        (optim.Adam, {"lr": -1.0}, "expected lr >= 0, got -1.0"),
        (optim.Adam, {"lr": float("nan")}, "expected lr >= 0, got nan"),
        (optim.AdamW, {"eps": -1e-8}, "AdamW: expected eps >= 0"),
        (optim.AdamW, {"weight_decay": -1}, "expected weight_decay >= 0"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"betas of two numbers in \[0, 1\)"),
        (optim.SGD, {"momentum": -0.5}, "expected momentum >= 0"),
        (optim.SGD, {"nesterov": True}, "nesterov needs momentum > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            kind([param], **options)
    for name in ("foreach", "fused", "capturable", "differentiable"):
        for kind in (optim.SGD, optim.Adam, optim.AdamW):
            with pytest.raises(TypeError, match=f"{kind.__name__}: {name}=True is not supported"):
                kind([param], **{name: True})
            kind([param], **{name: False})  # which asks for nothing
    optim.AdamW([param], fused=False, foreach=None, capturable=False, amsgrad=False)
    with pytest.raises(TypeError, match="amsgrad=True is not supported"):
        optim.AdamW([param], amsgrad=True)
    with pytest.raises(TypeError, match="unexpected option 'learning_rate'"):
        optim.AdamW([param], learning_rate=1e-3)
    with pytest.raises(TypeError, match="unexpected option 'decoupled_weight_decay'"):
        optim.AdamW([param], decoupled_weight_decay=False)
    optim.Adam([param], 1e-3, (0.9, 0.999), 1e-8, 0.0, False)  # PyTorch's order
