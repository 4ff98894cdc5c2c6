"""Surprise against numpy and central differences, in every mode."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nested import LEVELS, NestedModelWithSurprise, SurpriseLossComputer

from ..support.nested_reference import Reference

B, T, C, HIDDEN = 2, 3, 4, 5
WEIGHTS = {"level1_fast": 0.5, "level2_medium": 0.25}
ALL = WEIGHTS | {"level3_slow": 0.125}
N = B * T * C


class Problem:
    """A model in float64, a batch, and the squares of its errors as the loss."""

    def __init__(self, seed: int = 0, mode: bool | str = True) -> None:
        self.mode = mode
        rng = np.random.default_rng(seed)
        self.model = NestedModelWithSurprise(C, HIDDEN, dtype=tt.float64, residual=True)
        for p in self.model.parameters():
            p.detach().copy_(0.5 * rng.standard_normal(p.shape))
        self.x, self.targets = rng.standard_normal((2, B, T, C))

    def forward(self) -> tuple[tt.Tensor, dict]:
        y, seen = self.model(tt.tensor(self.x), compute_surprise=self.mode)
        return nn.functional.mse_loss(y, tt.tensor(self.targets), reduction="sum"), seen

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: p.grad.numpy() for name, p in self.model.named_parameters()}

    def total(self, computer: SurpriseLossComputer) -> float:
        loss, seen = self.forward()
        return (loss + computer.compute(loss, seen)[0]).item()

    def by_hand(self) -> tuple[Reference, list[np.ndarray], list[np.ndarray]]:
        """The reference after forward, what its levels gave, and dL/dy at each."""
        weights = {name: p.numpy() for name, p in self.model.named_parameters()}
        reference = Reference(weights, True, {})
        outputs = reference.forward(self.x)
        g3 = 2 * (outputs[2] - self.targets)
        g2 = reference.slow[1].backward(g3, type(reference.backward(g3)[0])())
        g1 = reference.slow[0].backward(g2, type(reference.backward(g3)[0])())
        return reference, outputs, [g1, g2, g3]


def close(found, expected, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance
    )


def check_by_hand(problem: Problem, computer, values: list[float], extra: dict) -> None:
    """Losses, and all gradients, when ``extra`` is added to the gradient at the outputs."""
    reference, _, g = problem.by_hand()
    loss, seen = problem.forward()
    aux, losses = computer.compute(loss, seen)
    (loss + aux).backward()
    assert list(losses) == [level for level in LEVELS if level in losses]
    close([x.item() for x in losses.values()], values)
    close(aux.item(), sum(values))
    expected, _ = reference.backward(g[2], extra)
    found = problem.gradients()
    for name, value in expected.items():
        close(found[name], value)


@pytest.mark.parametrize("clip", [10.0, 0.7, None])
@pytest.mark.parametrize("weights", [WEIGHTS, ALL])
def test_detached_by_hand(weights, clip):
    problem = Problem()
    _, y, g = problem.by_hand()
    bound = np.inf if clip is None else clip
    clipped = [np.clip(x, -bound, bound) for x in g]
    assert clip != 0.7 or any((abs(x) > clip).any() for x in g)
    w = list(weights.values())
    errors = [y[k] - clipped[k] for k in range(len(w))]
    values = [w[k] * (e**2).mean() for k, e in enumerate(errors)]
    extra = {k: 2 * w[k] / N * e for k, e in enumerate(errors)}
    check_by_hand(problem, SurpriseLossComputer(weights, clip), values, extra)


@pytest.mark.parametrize("clip", [10.0, 0.7])
def test_teach_by_hand(clip):
    problem, eta = Problem(1), 0.3
    g = [np.clip(x, -clip, clip) for x in problem.by_hand()[2]]
    w = list(WEIGHTS.values())
    values = [0.5 * w[k] * eta**2 * (g[k] ** 2).sum() for k in range(2)]
    extra = {k: w[k] * eta * g[k] for k in range(2)}
    computer = SurpriseLossComputer(WEIGHTS, clip, mode="teach", eta=eta)
    check_by_hand(problem, computer, values, extra)


@pytest.mark.parametrize("told", [True, "second_order"])
@pytest.mark.parametrize("clip", [None, 0.7])
@pytest.mark.parametrize("weights", [WEIGHTS, ALL])
def test_second_order_by_central_differences(weights, clip, told):
    problem = Problem(2, told)
    _, y, g = problem.by_hand()
    bound = np.inf if clip is None else clip
    computer = SurpriseLossComputer(weights, clip, mode="second_order")
    loss, seen = problem.forward()
    aux, losses = computer.compute(loss, seen)
    values = [
        w * ((y[k] - np.clip(g[k], -bound, bound)) ** 2).mean()
        for k, w in enumerate(weights.values())
    ]
    close([x.item() for x in losses.values()], values)
    (loss + aux).backward()
    found = problem.gradients()
    rng, h = np.random.default_rng(3), 1e-6
    for name, p in problem.model.named_parameters():
        before, direction = p.numpy(), rng.standard_normal(p.shape)
        ends = []
        for sign in (1, -1):
            p.detach().copy_(before + sign * h * direction)
            ends.append(problem.total(computer))
        p.detach().copy_(before)
        slope = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose((found[name] * direction).sum(), slope, rtol=1e-6, atol=1e-6)


def test_the_modes_differ_where_they_should():
    found = {}
    for mode in ("detached", "second_order", "teach"):
        problem = Problem()
        loss, seen = problem.forward()
        aux, _ = SurpriseLossComputer(WEIGHTS, mode=mode).compute(loss, seen)
        (loss + aux).backward()
        found[mode] = (aux.item(), problem.gradients()["level2_medium.fc.weight"])
    assert found["detached"][0] == pytest.approx(found["second_order"][0])
    assert not np.allclose(found["detached"][1], found["second_order"][1])
    assert not np.allclose(found["detached"][1], found["teach"][1])


def test_where_the_target_is_lost_in_rounding_it_is_not_asked_for(monkeypatch):
    """In float32 and a large batch; the gradients are those with the target, to rounding."""
    rng = np.random.default_rng(4)
    model = NestedModelWithSurprise(32, 16, residual=True, generator=tt.Generator(1))
    weights = {"level1_fast": 0.004, "level2_medium": 0.002}
    x = tt.tensor(rng.standard_normal((8, 40, 32)), dtype=tt.float32)  # 2w/n = 6.6 eps
    targets = tt.tensor(rng.integers(0, 32, 8 * 40))
    asked, found = [], {}
    grad = tt.autograd.grad
    monkeypatch.setattr(
        "tinytape.nested.surprise.grad", lambda *a, **k: asked.append(1) or grad(*a, **k)
    )
    for exact in (False, True):
        computer = SurpriseLossComputer(weights, exact=exact)
        y, seen = model(x, compute_surprise=True)
        loss = nn.functional.cross_entropy(y.reshape(-1, 32), targets)
        aux, _ = computer.compute(loss, seen)
        (loss + aux).backward()
        assert len(asked) == exact
        found[exact] = [p.grad.numpy() for p in model.parameters()]
        found[exact].append(np.array(aux.item()))
        model.zero_grad()
    for a, b in zip(found[False][:-1], found[True][:-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * abs(b).max())
    np.testing.assert_allclose(found[False][-1], found[True][-1], rtol=1e-3)
    more = {"level1_fast": 0.006}
    y, seen = model(x, compute_surprise=True)
    SurpriseLossComputer(more).compute(y.sum(), seen)
    assert len(asked) == 2
    elsewhere = tt.ones(1, requires_grad=True).sum()  # a loss that depends on no activation
    assert SurpriseLossComputer(weights).compute(elsewhere, seen)[1].keys() == weights.keys()
    for asking in (SurpriseLossComputer(weights, exact=True), SurpriseLossComputer(more)):
        with pytest.raises(RuntimeError, match="was not used in computing the outputs"):
            asking.compute(elsewhere, seen)


def test_every_nth_step():
    due = SurpriseLossComputer(WEIGHTS, compute_surprise_every_n_steps=3)
    assert [(due.is_due(), due.is_due(), due.should_compute_surprise()) for _ in range(6)] == [
        (k % 3 == 0,) * 3 for k in range(1, 7)
    ]
    computer = SurpriseLossComputer(WEIGHTS, compute_surprise_every_n_steps=3)
    made = []
    for _ in range(7):
        loss, seen = Problem().forward()
        aux, losses = computer.compute(loss, seen)
        assert (aux.item() == 0) == (losses == {})
        assert aux.dtype is loss.dtype
        made.append(bool(losses))
        del aux, losses, loss, seen
    assert made == [False, False, True, False, False, True, False]
    other = SurpriseLossComputer(WEIGHTS, compute_surprise_every_n_steps=3)
    other.load_state_dict(computer.state_dict())
    assert [other.should_compute_surprise() for _ in range(3)] == [False, True, False]
    loss, seen = Problem().forward()
    assert computer.compute(loss, seen, force_compute=True)[1]
    assert computer.step_counter == 7
    computer.reset_counter()
    assert computer.state_dict() == {"step_counter": 0}
    with pytest.raises(ValueError, match="step_counter to be a count, got -1"):
        computer.load_state_dict({"step_counter": -1})


def test_a_scaled_sum_scales_both_parts():
    problem = Problem()
    _, y, g = problem.by_hand()
    loss, seen = problem.forward()
    aux, _ = SurpriseLossComputer(WEIGHTS).compute(loss, seen)
    ((loss + 3.0 * aux) / 2).backward()
    reference, *_ = problem.by_hand()
    extra = {
        k: 1.5 * 2 * w / N * (y[k] - np.clip(g[k], -10, 10)) for k, w in enumerate(WEIGHTS.values())
    }
    expected, _ = reference.backward(g[2] / 2, extra)
    found = problem.gradients()
    for name, value in expected.items():
        close(found[name], value)


def test_levels_without_a_weight_have_no_term():
    loss, seen = Problem().forward()
    aux, losses = SurpriseLossComputer({"level1_fast": 0.0}).compute(loss, seen)
    assert (aux.item(), losses) == (0.0, {})
    assert SurpriseLossComputer().loss_weights == {"level1_fast": 0.3, "level2_medium": 0.1}
    with pytest.raises(ValueError, match="a weight for level9, and activations of level1_fast"):
        SurpriseLossComputer({"level9": 1.0}).compute(loss, seen)
    with pytest.raises(ValueError, match="call the model with compute_surprise=True"):
        SurpriseLossComputer().compute(loss, None)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (({"a": -1.0},), {}, "a weight >= 0 of a, got -1.0"),
        (({"a": float("nan")},), {}, "got nan"),
        ((None, 0.0), {}, "gradient_clip_value > 0 or None, got 0.0"),
        ((None, 1.0, 0), {}, "an int >= 1, got 0"),
        ((), {"mode": "third"}, "detached, second_order, teach, got 'third'"),
        ((), {"eta": 0.0}, "eta > 0, got 0.0"),
    ],
)
def test_errors(args, options, message):
    with pytest.raises(ValueError, match=message):
        SurpriseLossComputer(*args, **options)
