"""One optimiser a level: who learns when, from what, and how it goes on after a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nested import (
    LEVELS,
    PRESETS,
    ChunkedUpdateScheduler,
    LearnedStarts,
    LevelOptimizers,
    NestedModelWithState,
    level_optimizers,
    preset,
)
from tinytape.optim import SGD, Adam, AdamW

V, C = 7, 4
CHUNKS = {"level1_fast": 1, "level2_medium": 2, "level3_slow": 4}


class Text(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        generator = tt.Generator(3)
        self.embedding = nn.Embedding(V, C, dtype=tt.float64, generator=generator)
        self.nested = NestedModelWithState(C, 6, dtype=tt.float64, generator=generator, **options)
        self.head = nn.Linear(C, V, dtype=tt.float64, generator=generator)


def batch(step: int) -> tuple[tt.Tensor, tt.Tensor]:
    rng = np.random.default_rng(step)
    return tt.tensor(rng.integers(0, V, (2, 5))), tt.tensor(rng.integers(0, V, 10))


def learn(model: Text, step: int) -> None:
    """The gradients of one step."""
    x, targets = batch(step)
    y, _ = model.nested(model.embedding(x))
    nn.functional.cross_entropy(model.head(y).reshape(10, V), targets).backward()
    model.nested.detach_states()


def values(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.numpy() for name, p in model.named_parameters()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) for name in a)


def made(model: Text, make: Any = SGD, **options: Any) -> LevelOptimizers:
    return LevelOptimizers(model, ChunkedUpdateScheduler(CHUNKS), make, **({"lr": 0.1} | options))


def test_every_parameter_belongs_to_one_level():
    model = Text()
    optimizers = made(model)
    names = [name for named in optimizers.params.values() for name, _ in named]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert list(optimizers.params) == list(LEVELS)
    fast = {name for name, _ in optimizers.params["level1_fast"]}
    assert {"embedding.weight", "head.weight", "head.bias"} < fast
    before = values(model)
    for step in range(1, 5):
        learn(model, step)
        optimizers.step(step)
    assert not any(np.array_equal(before[name], x) for name, x in values(model).items())


def test_levels_that_are_not_due_accumulate():
    model = Text()
    optimizers = made(model)
    updated = []
    for step in range(1, 9):
        learn(model, step)
        updated.append(optimizers.step(step))
        for level, named in optimizers.params.items():
            waiting = optimizers.pending[level]
            assert waiting == step % CHUNKS[level]
            assert all((p.grad is None) == (waiting == 0) for _, p in named)
    fast, medium, slow = LEVELS
    assert updated == 2 * [[fast], [fast, medium], [fast], [fast, medium, slow]]
    counts = [optimizers.scheduler.get_update_count(level) for level in LEVELS]
    assert counts == [8, 4, 2]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("lr_scale", [None, "divided"])
def test_sums_and_means_with_sgd(reduction, lr_scale):
    model, lr = Text(), 0.1
    optimizers = made(model, reduction=reduction, lr_scale=lr_scale)
    expected, waiting = values(model), {}
    for step in range(1, 5):
        alone = Text()
        alone.load_state_dict(model.state_dict())
        alone.nested.load_state_arrays(model.nested.state_arrays())
        learn(alone, step)
        learn(model, step)
        optimizers.step(step)
        for level, named in optimizers.params.items():
            size = CHUNKS[level]
            for name, _ in named:
                g = dict(alone.named_parameters())[name].grad.numpy()
                waiting[name] = waiting.get(name, 0) + g
                if step % size == 0:
                    rate = lr / size if lr_scale else lr
                    share = size if reduction == "mean" else 1
                    expected[name] = expected[name] - rate * waiting.pop(name) / share
    for name, x in values(model).items():
        np.testing.assert_allclose(x, expected[name], rtol=1e-12, atol=1e-14)


def test_a_bound_for_the_gradient_of_each_level():
    model = Text()
    optimizers = made(model, lr=1.0, max_norm=1e-3)
    before = values(model)
    for step in range(1, 5):
        learn(model, step)
        optimizers.step(step)
    after = values(model)
    slow = [after[name] - before[name] for name, _ in optimizers.params["level3_slow"]]
    norm = np.sqrt(sum((d**2).sum() for d in slow))
    assert norm == pytest.approx(1e-3, rel=1e-2)


def test_rates():
    optimizers = made(Text(), lr_scale="divided", lr=0.8)
    rates = {"level1_fast": 0.8, "level2_medium": 0.4, "level3_slow": 0.2}
    assert optimizers.get_lr() == pytest.approx(rates)
    optimizers.set_lr(0.4)
    assert optimizers.get_lr() == pytest.approx({k: v / 2 for k, v in rates.items()})
    chunks = dict(zip(LEVELS, (8, 40, 100), strict=True))
    in_tokens = ChunkedUpdateScheduler(chunks, unit="tokens", tokens_per_step=20)
    optimizers = LevelOptimizers(Text(), in_tokens, lr=0.8, lr_scale="divided")
    assert list(optimizers.get_lr().values()) == pytest.approx([0.8, 0.4, 0.16])
    by_level = made(Text(), lr=rates)
    assert by_level.get_lr() == rates
    before = optimizers.get_lr()
    for rate in (float("nan"), float("inf"), -0.1, "0.1", None):
        with pytest.raises(ValueError, match=r"rate of level3_slow to be a finite number >= 0"):
            optimizers.set_lr(dict.fromkeys(LEVELS, 0.5) | {"level3_slow": rate})
        with pytest.raises(ValueError, match=f"got {rate!r}"):
            made(Text(), lr=rate)
    assert optimizers.get_lr() == before
    with pytest.raises(ValueError, match=r"a rate for each of level1_fast.*got level1_fast$"):
        by_level.set_lr({"level1_fast": 1.0})


@pytest.mark.parametrize("stop", [3, 4, 5])
@pytest.mark.parametrize("wiring", ["sequential", "nested"])
def test_resuming_within_a_chunk_is_exact(wiring, stop):
    def run(model: Text, optimizers: LevelOptimizers, first: int, last: int) -> None:
        for step in range(first, last + 1):
            learn(model, step)
            optimizers.step(step)

    options = {"wiring": wiring, "memory": {"level3_slow": 3.0}}
    whole, straight = Text(**options), None
    straight = made(whole, Adam, lr=0.05)
    run(whole, straight, 1, 9)

    first = Text(**options)
    stopped = made(first, Adam, lr=0.05)
    run(first, stopped, 1, stop)
    saved = to_arrays(stopped.state_dict())
    assert (saved["gradients"] == {}) == (stop == 4)
    second = Text(**options)
    resumed = made(second, Adam, lr=0.05)
    learn(second, 99)  # what is there must not matter
    second.load_state_dict({k: v.numpy() for k, v in first.state_dict().items()})
    second.nested.load_state_arrays(first.nested.state_arrays())
    resumed.load_state_dict(saved)
    run(second, resumed, stop + 1, 9)
    assert same(values(whole), values(second))
    assert same(whole.nested.state_arrays(), second.nested.state_arrays())
    assert straight.scheduler.state_dict() == resumed.scheduler.state_dict()
    assert straight.pending == resumed.pending
    a, b = to_arrays(straight.state_dict()), to_arrays(resumed.state_dict())
    assert repr(a) == repr(b)


def test_gradients_before_their_step_are_kept_too():
    model, other = Text(), Text()
    optimizers, resumed = made(model), made(other)
    learn(model, 1)
    resumed.load_state_dict(to_arrays(optimizers.state_dict()))
    assert resumed.pending == dict.fromkeys(LEVELS, 0)
    for o in (optimizers, resumed):
        o.step(1)
    assert same(values(model), values(other))


def to_arrays(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: to_arrays(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [to_arrays(value) for value in tree]
    return tree.numpy() if isinstance(tree, tt.Tensor) else tree


def test_loading_what_does_not_fit_changes_nothing():
    model = Text()
    optimizers = made(model, Adam)
    for step in (1, 2, 3):
        learn(model, step)
        optimizers.step(step)
    state = to_arrays(optimizers.state_dict())
    slow = {**state["levels"]["level3_slow"], "state": {}}
    gradient = state["gradients"]["nested.level3_slow.fc.bias"]
    for wrong, message in [
        ({}, "expected levels of level1_fast"),
        (state | {"pending": {"a": 1}}, "expected pending of"),
        (state | {"pending": state["pending"] | {"level3_slow": -1}}, "to be an int >= 0, got -1"),
        (
            state | {"pending": state["pending"] | {"level3_slow": 1.5}},
            "to be an int >= 0, got 1.5",
        ),
        (state | {"levels": state["levels"] | {"level3_slow": slow}}, "Missing state of"),
        (state | {"gradients": {"x": gradient}}, "unexpected gradient of x"),
        (
            state | {"gradients": {"nested.level3_slow.fc.bias": gradient[:1]}},
            "size mismatch for gradient of",
        ),
        (state | {"scheduler": {}}, "expected last_update_step"),
        (state | {"starts": {}}, "for the nested wiring"),
    ]:
        learn(other := Text(), 50)
        target = made(other, Adam)
        target.step(1)
        before, weights = repr(to_arrays(target.state_dict())), values(other)
        with pytest.raises(ValueError, match=message):
            target.load_state_dict(wrong)
        assert repr(to_arrays(target.state_dict())) == before
        assert same(values(other), weights)


def test_loading_that_is_interrupted_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    model, other = Text(), Text()
    optimizers, target = made(model, Adam), made(other, Adam)
    learn(model, 1)
    optimizers.step(1)
    before = repr(to_arrays(target.state_dict()))
    real = target.scheduler.load_state_dict

    def interrupted(state: Any) -> None:
        monkeypatch.setattr(target.scheduler, "load_state_dict", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(target.scheduler, "load_state_dict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target.load_state_dict(to_arrays(optimizers.state_dict()))
    assert repr(to_arrays(target.state_dict())) == before


def test_the_nested_wiring_begins_again_from_what_the_slower_level_learned():
    rate, lr = 0.25, 0.1
    model, plain = Text(wiring="nested"), Text()
    optimizers = made(model, lr=lr, start_rate=rate)
    other = made(plain, lr=lr)
    starts = {k: x for k, x in values(model).items()}
    fast = [n for n, _ in optimizers.params["level1_fast"] if n.startswith("nested.level1")]
    medium = [n for n, _ in optimizers.params["level2_medium"]]
    assert set(optimizers.starts.state_dict()) == {*fast, *medium}
    for step in range(1, 5):
        plain.load_state_dict(model.state_dict())
        plain.nested.load_state_arrays(model.nested.state_arrays())
        for m, o in ((model, optimizers), (plain, other)):
            learn(m, step)
            o.step(step)
        expected = values(plain)
        again = (fast if step % 2 == 0 else []) + (medium if step % 4 == 0 else [])
        for name in again:
            starts[name] = starts[name] + rate * (expected[name] - starts[name])
            expected[name] = starts[name]
        for name, x in values(model).items():
            np.testing.assert_allclose(x, expected[name], rtol=1e-12, atol=1e-15, err_msg=name)


def test_starts_that_do_not_fit():
    layer = nn.Linear(2, 2)
    starts = LearnedStarts({"a": list(layer.named_parameters()), "b": []})
    saved = starts.state_dict()
    with pytest.raises(ValueError, match="names that differ: bias"):
        starts.load_state_dict({"weight": saved["weight"]})
    with pytest.raises(ValueError, match="size mismatch for bias"):
        starts.load_state_dict({**saved, "bias": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"a rate in \(0, 1\], got 0"):
        LearnedStarts({}, 0)


def test_presets():
    original = level_optimizers(Text(), "original")
    assert original.scheduler.chunk_sizes == {
        "level1_fast": 1,
        "level2_medium": 16,
        "level3_slow": 256,
    }
    assert original.get_lr() == pytest.approx(
        {"level1_fast": 3e-4, "level2_medium": 3e-4 / 16, "level3_slow": 3e-4 / 256}
    )
    assert original.reduction == "sum"
    for name, chosen in PRESETS.items():
        model = Text(**chosen["model"])
        optimizers = level_optimizers(model, name, chunk_sizes=CHUNKS)
        before = values(model)
        for step in range(1, 5):
            learn(model, step)
            optimizers.step(step)
        assert not any(np.array_equal(before[n], x) for n, x in values(model).items()), name
    copied = preset("original")
    copied["chunk_sizes"]["level1_fast"] = 5
    assert PRESETS["original"]["chunk_sizes"]["level1_fast"] == 1
    assert PRESETS["unscaled"]["chunk_sizes"]["level1_fast"] == 1
    with pytest.raises(ValueError, match=r"expected one of original, .*got 'best'"):
        preset("best")
    kinds = level_optimizers(Text(), "original", make="AdamW").optimizers.values()
    assert {type(kind) for kind in kinds} == {AdamW}
    with pytest.raises(ValueError, match=r"make to be one of Adam, .*SGD, or .*got 'Muon'"):
        level_optimizers(Text(), "original", make="Muon")


def test_frozen_levels_and_other_errors():
    model = Text()
    model.nested.level3_slow.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of level3_slow requires a gradient"):
        made(model)
    with pytest.raises(ValueError, match="a model with one NestedModel, found 0"):
        LevelOptimizers(nn.Linear(1, 1), ChunkedUpdateScheduler(CHUNKS))
    with pytest.raises(ValueError, match="the scheduler a"):
        LevelOptimizers(Text(), ChunkedUpdateScheduler({"a": 1}))
    for options, message in [
        ({"reduction": "max"}, "mean or sum, got 'max'"),
        ({"lr_scale": "halved"}, "None or 'divided', got 'halved'"),
        ({"max_norm": 0.0}, "max_norm > 0 or None, got 0.0"),
        ({"start_rate": 2.0, "wiring": "nested"}, "a rate in"),
    ]:
        wiring = options.pop("wiring", "sequential")
        with pytest.raises(ValueError, match=message):
            made(Text(wiring=wiring), **options)
    with pytest.raises(TypeError, match=r"make to be a class of optimisers.* got 'SGD'"):
        made(Text(), "SGD")


@pytest.mark.parametrize("step", [0, -1, 1.0, None])
def test_steps_count_from_one(step):
    optimizers = made(Text())
    with pytest.raises(ValueError, match=r"LevelOptimizers\.step: expected a step .* int >= 1"):
        optimizers.step(step)
    assert optimizers.pending == dict.fromkeys(LEVELS, 0)


def test_zero_grad_forgets_what_waits():
    model = Text()
    optimizers = made(model)
    learn(model, 1)
    optimizers.step(1)
    optimizers.zero_grad()
    assert optimizers.pending == dict.fromkeys(LEVELS, 0)
    assert all(p.grad is None for p in model.parameters())
