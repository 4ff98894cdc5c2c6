"""The nested models against numpy: forward, loss, every gradient; wirings, options, the loop that
the document of the original prints."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nested import (
    LEVELS,
    ChunkedUpdateScheduler,
    NestedModel,
    NestedModelWithState,
    NestedModelWithSurprise,
    SurpriseLossComputer,
)

from ..support.nested_reference import Reference

B, T, C, HIDDEN = 3, 4, 5, 7
RECIPE = {"residual": True, "norm": True, "forget_bias": 1.0}
MEMORY = {"level2_medium": 2.0, "level3_slow": 5.0}


def array(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def double(x: np.ndarray, **options) -> tt.Tensor:
    return tt.tensor(x, dtype=tt.float64, **options)


def random_weights(model: nn.Module, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Overwrites them, so that norms and gains are not what they begin as."""
    for p in model.parameters():
        p.detach().copy_(0.5 * rng.standard_normal(p.shape))
    return {name: p.numpy() for name, p in model.named_parameters()}


def close(found: tt.Tensor | np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory", [None, MEMORY])
@pytest.mark.parametrize("options", [{}, RECIPE], ids=["original", "recipe"])
def test_gradients_by_hand_over_two_batches(options, memory):
    rng = np.random.default_rng(1)
    model = NestedModelWithState(C, HIDDEN, memory=memory, dtype=tt.float64, **options)
    weights = random_weights(model, rng)
    decay = {name: math.exp(-1 / tau) for name, tau in (memory or {}).items()}
    reference = Reference(weights, bool(options), decay)
    for _ in range(2):
        values, targets = array(rng, B, T, C), array(rng, B, T, C)
        x = double(values, requires_grad=True)
        y, _ = model(x)
        loss = nn.functional.mse_loss(y, double(targets))
        loss.backward()
        model.detach_states()
        out = reference.forward(values)[-1]
        close(y, out)
        close(loss.item(), ((out - targets) ** 2).mean())
        grads, dx = reference.backward(2 * (out - targets) / out.size)
        close(x.grad, dx)
        found = {name: p.grad for name, p in model.named_parameters()}
        assert found.keys() == grads.keys()
        for name, g in grads.items():
            close(found[name], g)
        state = model.state_arrays()
        close(state["level1_fast.h"][0], reference.h)
        close(state["level1_fast.c"][0], reference.c)
        for name in decay:
            close(state[f"{name}.memory"], reference.memory[name])
        model.zero_grad()


def test_the_state_carries_a_gradient_until_it_is_detached():
    rng = np.random.default_rng(2)
    model = NestedModelWithState(C, HIDDEN, dtype=tt.float64)
    first, second = double(array(rng, B, T, C)), double(array(rng, B, T, C))
    both = NestedModelWithSurprise(C, HIDDEN, dtype=tt.float64)
    both.load_state_dict(model.state_dict())
    model(first)
    model(second)[0].sum().backward()
    both(tt.cat([first, second], 1))[0].narrow(1, T, T).sum().backward()
    for p, q in zip(model.parameters(), both.parameters(), strict=True):
        close(p.grad, q.grad.numpy())


def test_without_state_every_batch_begins_with_zeros():
    rng = np.random.default_rng(3)
    plain = NestedModel(C, HIDDEN, dtype=tt.float64)
    x = double(array(rng, B, T, C))
    stateful = NestedModelWithState(C, HIDDEN, dtype=tt.float64)
    stateful.load_state_dict(plain.state_dict())
    first = plain(x).numpy()
    np.testing.assert_array_equal(plain(x).numpy(), first)
    np.testing.assert_array_equal(stateful(x)[0].numpy(), first)
    assert not np.array_equal(stateful(x)[0].numpy(), first)
    np.testing.assert_array_equal(stateful(x, reset_states=True)[0].numpy(), first)


@pytest.mark.parametrize("mix", ["mean", "learned"])
def test_independent_levels_all_see_the_input(mix):
    rng = np.random.default_rng(4)
    options = {"wiring": "independent", "mix": mix, "residual": True, "dtype": tt.float64}
    model = NestedModelWithSurprise(C, HIDDEN, **options)
    weights = random_weights(model, rng)
    values, up = array(rng, B, T, C), array(rng, B, T, C)
    y, seen = model(double(values), compute_surprise=True)
    (y * double(up)).sum().backward()
    a = np.full(3, 1 / 3)
    if mix == "learned":
        a = np.exp(weights["mix"]) / np.exp(weights["mix"]).sum()
    reference = Reference(weights, True, {})
    outputs = [
        reference.fast.forward(values, np.zeros((B, C)), np.zeros((B, C)))[0],
        *(level.forward(values) for level in reference.slow),
    ]
    close(y, sum(k * out for k, out in zip(a, outputs, strict=True)))
    for name, out in zip(LEVELS, outputs, strict=True):
        close(seen["activations"][name], out)
        np.testing.assert_array_equal(seen["inputs"][name].numpy(), values)
    if mix == "learned":
        d = np.array([(up * out).sum() for out in outputs])
        close(model.mix.grad, a * (d - a @ d))
    grads: dict = {}
    for k, level in zip(a[1:], reference.slow, strict=True):
        level.backward(k * up, found := type(reference.backward(up)[0])())
        grads |= found
    for name, g in grads.items():
        close(dict(model.named_parameters())[name].grad, g)


def test_what_the_levels_saw_and_made():
    model = NestedModelWithSurprise(C, HIDDEN)
    x = tt.randn(B, T, C)
    y, seen = model(x)
    assert seen is None
    y, seen = model(x, compute_surprise=True)
    assert list(seen["activations"]) == list(seen["inputs"]) == list(LEVELS)
    assert seen["inputs"]["level1_fast"] is x
    assert seen["inputs"]["level2_medium"] is seen["activations"]["level1_fast"]
    assert seen["activations"]["level3_slow"] is y


def test_levels_parameters_and_their_number():
    model = NestedModel(256, 512)
    assert list(model.levels) == list(LEVELS)
    assert isinstance(model.levels["level1_fast"], nn.LSTM)
    counts = {name: model.count_parameters(name) for name in LEVELS}
    assert counts == {"level1_fast": 526_336, "level2_medium": 262_912, "level3_slow": 262_912}
    assert model.count_parameters() == sum(counts.values())
    ids = [id(p) for name in LEVELS for p in model.get_level_params(name)]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    around = nn.Embedding(283, 256).weight.numel()
    around += sum(p.numel() for p in nn.Linear(256, 283).parameters())
    assert model.count_parameters() + around == 1_197_339
    assert NestedModel(4, None).hidden_size == 16
    with pytest.raises(ValueError, match=r"expected one of level1_fast.*got 'level4'"):
        model.get_level_params("level4")


def test_the_forget_bias_is_added_to_what_is_drawn():
    plain = NestedModel(C, HIDDEN, generator=tt.Generator(5))
    shifted = NestedModel(C, HIDDEN, forget_bias=1.5, norm=True, generator=tt.Generator(5))
    for again in (False, True):
        if again:
            plain.level1_fast.reset_parameters(tt.Generator(6))
            shifted.level1_fast.norm.weight.detach().fill_(3.0)
            shifted.level1_fast.reset_parameters(tt.Generator(6))
        a, b = (m.level1_fast.bias_ih_l0.numpy() for m in (plain, shifted))
        expected = np.repeat([0, 1.5, 0, 0], C)
        np.testing.assert_allclose(b - a, expected, atol=1e-6)
        np.testing.assert_array_equal(shifted.level1_fast.norm.weight.numpy(), np.ones(C))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NestedModel(0), "input_size to be an int >= 1, got 0"),
        (lambda: NestedModel(3, True), "hidden_size to be an int >= 1, got True"),
        (lambda: NestedModel(3, wiring="star"), "sequential, nested, independent, got 'star'"),
        (lambda: NestedModel(3, mix="learned"), "for the independent wiring"),
        (lambda: NestedModel(3, wiring="independent", mix="max"), "mean or learned, got 'max'"),
        (lambda: NestedModel(3, forget_bias=float("nan")), "forget_bias to be a finite .* got nan"),
        (lambda: NestedModel(3, forget_bias=float("-inf")), "got -inf"),
        (lambda: NestedModel(3, forget_bias="1"), "forget_bias to be a finite number, got '1'"),
        (
            lambda: NestedModelWithSurprise(3)(tt.zeros(2, 4, 3), compute_surprise="secondorder"),
            "one of detached, second_order, teach, got 'secondorder'",
        ),
        (
            lambda: NestedModelWithState(3)(tt.zeros(2, 4, 3), compute_surprise="secondorder"),
            "NestedModelWithState: expected compute_surprise to be True, False or one of",
        ),
        (lambda: NestedModelWithSurprise(3)(tt.zeros(2, 4, 3), compute_surprise=""), "got ''"),
        (lambda: NestedModel(3)(tt.zeros(2, 3)), r"shape \(B, T, 3\), got \(2, 3\)"),
        (lambda: NestedModelWithState(3)(tt.zeros(2, 4, 4)), r"got \(2, 4, 4\)"),
        (lambda: NestedModelWithState(3, memory={"level1_fast": 2.0}), "got 'level1_fast'"),
        (lambda: NestedModelWithState(3, memory={"level3_slow": 0}), "> 0 for level3_slow, got 0"),
        (lambda: NestedModelWithState(3, memory={"level3_slow": float("inf")}), "got inf"),
        (lambda: NestedModelWithState(3, memory_length=0), "memory_length to be an int >= 1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="expected a Tensor, got list"):
        NestedModel(3)([[1.0]])


# From the document that describes the original system, "Complete Implementation Summary"; only the
# lines that import differ.
BASIC_SETUP = """
from tinytape.nested import NestedModelWithSurprise
from tinytape.nested import ChunkedUpdateScheduler
from tinytape.nested import SurpriseLossComputer

# Model
model = NestedModelWithSurprise(input_size=256, hidden_size=512)

# Scheduler
chunk_sizes = {"level1_fast": 1, "level2_medium": 16, "level3_slow": 256}
scheduler = ChunkedUpdateScheduler(chunk_sizes)

# Surprise
surprise_computer = SurpriseLossComputer(
    loss_weights={"level1_fast": 0.05, "level2_medium": 0.01}
)
"""
TRAINING_LOOP = """
# Forward with surprise
logits, surprise_info = model(x, compute_surprise=True)
main_loss = criterion(logits, targets)

# Compute surprise loss
aux_loss, _ = surprise_computer.compute(main_loss, surprise_info)
total_loss = main_loss + aux_loss

# Backward and update
total_loss.backward()
for level_name, module in model.levels.items():
    if scheduler.should_update(level_name, step):
        optimizers[level_name].step()
        scheduler.mark_updated(level_name, step)
        module.zero_grad()
"""


def test_the_printed_training_loop_runs():
    rng = np.random.default_rng(7)
    space: dict = {}
    exec(BASIC_SETUP, space)
    model, scheduler = space["model"], space["scheduler"]
    assert type(model) is NestedModelWithSurprise
    assert type(scheduler) is ChunkedUpdateScheduler
    assert type(space["surprise_computer"]) is SurpriseLossComputer
    space |= {
        "x": tt.tensor(rng.standard_normal((2, 3, 256)), dtype=tt.float32),
        "targets": tt.tensor(rng.standard_normal((2, 3, 256)), dtype=tt.float32),
        "criterion": nn.MSELoss(),
        "optimizers": {k: tt.optim.Adam(m.parameters()) for k, m in model.levels.items()},
    }
    moved, losses = {name: [] for name in LEVELS}, []
    for space["step"] in range(1, 33):
        before = {name: m.state_dict() for name, m in model.levels.items()}
        before = {k: {n: x.numpy() for n, x in s.items()} for k, s in before.items()}
        exec(TRAINING_LOOP, space)
        losses.append(space["main_loss"].item())
        for name, m in model.levels.items():
            now = m.state_dict()
            if any(not np.array_equal(now[n].numpy(), x) for n, x in before[name].items()):
                moved[name].append(space["step"])
    assert moved == {
        "level1_fast": list(range(1, 33)),
        "level2_medium": [16, 32],
        "level3_slow": [],
    }
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in model.get_level_params("level3_slow"))
