"""Learning-rate schedules against PyTorch's published formulas; resuming gives the same bits."""

from __future__ import annotations

import json
import math

import pytest

import tinytape as tt
from tinytape import nn, optim
from tinytape.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
    StepLR,
)


def sgd(*rates: float) -> optim.SGD:
    return optim.SGD([{"params": [nn.Parameter(tt.zeros(1))], "lr": lr} for lr in rates or (0.1,)])


def rates(schedule: LRScheduler, n: int) -> list[float]:
    """The first group's rate now and after each of n - 1 steps."""
    seen = []
    for _ in range(n):
        seen.append(schedule.optimizer.param_groups[0]["lr"])
        assert schedule.get_last_lr()[0] == seen[-1] == schedule.get_lr()[0]
        schedule.step()
    return seen


def test_step_lr():
    got = rates(StepLR(sgd(0.5), step_size=2, gamma=0.1), 6)
    assert got == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005], rel=1e-12)


def test_linear_lr():
    got = rates(LinearLR(sgd(0.1), start_factor=0.5, total_iters=4), 7)
    assert got == pytest.approx([0.05, 0.0625, 0.075, 0.0875, 0.1, 0.1, 0.1], rel=1e-12)
    assert rates(LinearLR(sgd(0.3)), 1)[0] == pytest.approx(0.1)


def test_cosine_annealing_lr():
    got = rates(CosineAnnealingLR(sgd(1.0), T_max=4, eta_min=0.2), 6)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(6)]
    assert got == pytest.approx(expected, rel=1e-12)
    assert got[0] == 1.0 and got[4] == 0.2


def test_lambda_lr_and_groups():
    optimizer = sgd(0.1, 0.2)
    schedule = LambdaLR(optimizer, [lambda t: 1.0 / (t + 1), lambda t: 0.5**t])
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 0.1]
    assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.1]
    assert [g["initial_lr"] for g in optimizer.param_groups] == [0.1, 0.2]
    assert schedule.lr_at(3) == [0.025, 0.025]


def warm_up_then_cosine(optimizer: optim.Optimizer) -> SequentialLR:
    return SequentialLR(
        optimizer,
        [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, T_max=5)],
        milestones=[2],
    )


def test_sequential_lr():
    got = rates(warm_up_then_cosine(sgd(1.0)), 9)
    warm = [0.1, 0.4]  # cut short, so that the milestone is a jump
    cosine = [(1 + math.cos(math.pi * t / 5)) / 2 for t in range(7)]
    assert got == pytest.approx(warm + cosine, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: StepLR(optimizer, 3, 0.7),
        lambda optimizer: LinearLR(optimizer, 0.3, total_iters=11),
        lambda optimizer: CosineAnnealingLR(optimizer, T_max=13, eta_min=1e-5),
        lambda optimizer: LambdaLR(optimizer, lambda t: 0.97**t),
        warm_up_then_cosine,
    ],
)
def test_resume_has_the_same_bits(make):
    optimizer = sgd(0.123456789)
    schedule = make(optimizer)
    for _ in range(7):
        schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()["param_groups"]]))
    expected = rates(schedule, 20)

    again = sgd(0.123456789)
    resumed = make(again)
    again.load_state_dict({"state": {}, "param_groups": saved[1]})
    resumed.load_state_dict(saved[0])
    assert resumed.last_epoch == 7
    assert rates(resumed, 20) == expected
    assert len(set(expected)) > 3


LATER = {  # kind: (how it is made, the new group's rates from its arrival after 3 steps on)
    "step": (lambda o: StepLR(o, 2, 0.5), [0.3, 0.15, 0.15, 0.075, 0.075, 0.0375]),
    "linear": (lambda o: LinearLR(o, 0.2, 1.0, 4), [0.3, 0.375, 0.375, 0.375]),
    "linear, done": (lambda o: LinearLR(o, 0.2, 1.0, 2), [0.3, 0.3, 0.3]),
    "cosine": (
        lambda o: CosineAnnealingLR(o, 8, 0.01),
        [0.3, 0.219737, 0.139474, 0.071431, 0.025965, 0.01, 0.025965],
    ),
    "lambda": (lambda o: LambdaLR(o, lambda t: 1 / (t + 1)), [0.3, 0.3 / 5, 0.3 / 6, 0.3 / 7]),
    "sequential": (
        lambda o: SequentialLR(o, [LinearLR(o, 0.1, total_iters=4), StepLR(o, 1, 0.5)], [4]),
        [0.3, 0.3 / 0.775, 0.15 / 0.775, 0.075 / 0.775],
    ),
}


@pytest.mark.parametrize("kind", LATER)
def test_a_group_that_comes_later(kind):
    """PyTorch's rates where PyTorch goes on; where its zip() ends it, the schedule applies."""
    make, expected = LATER[kind]
    optimizer, alone = sgd(1.0), sgd(1.0)
    schedule, other = make(optimizer), make(alone)
    for _ in range(3):
        schedule.step()
        other.step()
    optimizer.add_param_group({"params": [nn.Parameter(tt.zeros(1))], "lr": 0.3})
    got = []
    for _ in expected:
        got.append(optimizer.param_groups[1]["lr"])
        assert optimizer.param_groups[0]["lr"] == alone.param_groups[0]["lr"]
        schedule.step()
        other.step()
        assert schedule.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
    assert got == pytest.approx(expected, abs=1e-6)

    # The state knows both groups: whoever resumes gets the same bits.
    again = sgd(1.0, 0.3)
    resumed = make(again)
    saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()["param_groups"]]))
    again.load_state_dict({"state": {}, "param_groups": saved[1]})
    resumed.load_state_dict(saved[0])
    for _ in range(5):
        schedule.step()
        resumed.step()
        assert resumed.get_last_lr() == schedule.get_last_lr()


def test_a_group_that_brings_its_base_rate_along():
    optimizer = sgd(1.0)
    schedule = StepLR(optimizer, 1, 0.5)
    schedule.step()
    group = {"params": [nn.Parameter(tt.zeros(1))], "lr": 7.0, "initial_lr": 0.4}
    optimizer.add_param_group(group)
    schedule.step()
    assert schedule.get_last_lr() == [0.25, 0.1]


def test_functions_of_their_own_for_groups_that_come_later():
    optimizer = sgd(1.0, 2.0)
    schedule = LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 1.0])
    optimizer.add_param_group({"params": [nn.Parameter(tt.zeros(1))], "lr": 4.0})
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=r"each of 3 .* groups, got 2: append .*lr_lambdas"):
        schedule.step()
    assert schedule.state_dict() == before and optimizer.param_groups[0]["lr"] == 1.0
    schedule.lr_lambdas.append(lambda t: 0.25**t)
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 2.0, 1.0]


def test_a_schedule_of_ones_own_that_forgets_a_group():
    class First(LRScheduler):
        def lr_at(self, epoch: int) -> list[float]:
            return [self.base_lrs[0] / (epoch + 1)]

    optimizer = sgd(1.0)
    schedule = First(optimizer)
    optimizer.add_param_group({"params": [nn.Parameter(tt.zeros(1))], "lr": 4.0})
    with pytest.raises(ValueError, match=r"First: .* each of 2 parameter group\(s\), got 1"):
        schedule.step()
    assert schedule.last_epoch == 0 and [g["lr"] for g in optimizer.param_groups] == [1.0, 4.0]


def test_continue_from_last_epoch():
    optimizer = sgd(1.0)
    with pytest.raises(KeyError, match="initial_lr"):
        StepLR(optimizer, 2, last_epoch=3)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    assert rates(StepLR(optimizer, 2, last_epoch=3), 1) == [0.1**2]


def test_refusals():
    with pytest.raises(TypeError, match="StepLR: expected an Optimizer, got int"):
        StepLR(3, 1)
    with pytest.raises(ValueError, match="step_size"):
        StepLR(sgd(), 0)
    with pytest.raises(ValueError, match="T_max"):
        CosineAnnealingLR(sgd(), 0)
    with pytest.raises(ValueError, match="start_factor"):
        LinearLR(sgd(), start_factor=0.0)
    with pytest.raises(ValueError, match="expected 1 functions, got 2"):
        LambdaLR(sgd(), [abs, abs])
    one, other = sgd(), sgd()
    with pytest.raises(ValueError, match="one milestone fewer"):
        SequentialLR(one, [LinearLR(one)], [3])
    with pytest.raises(ValueError, match="of the optimizer that was given"):
        SequentialLR(one, [LinearLR(one), LinearLR(other)], [3])
    with pytest.raises(ValueError, match="increasing milestones"):
        SequentialLR(one, [LinearLR(one)] * 3, [3, 3])
    before = StepLR(sgd(), 2)
    state = before.state_dict()
    with pytest.raises(nn.StateDictError, match="StepLR: expected the keys"):
        before.load_state_dict(LinearLR(sgd()).state_dict())
    with pytest.raises(nn.StateDictError, match="expected base_lrs for 1"):
        before.load_state_dict(StepLR(sgd(0.1, 0.2), 2).state_dict())
    assert before.state_dict() == state
