"""Learning-rate schedules, each a closed form of ``last_epoch``.

PyTorch multiplies the last rate by a ratio; after a resume such a product can differ in its last
bit. Here every rate is computed from the base rate and the count alone, so a resumed run has the
same bits. An "epoch" is one call of ``step()``, as in PyTorch; call it once per iteration or once
per pass over the data.

A group may be added to the optimiser at any time. It keeps its ``lr`` until the next ``step()`` and
then follows the schedule with the others: its base rate is the one from which the schedule would
have led to that ``lr``. A LambdaLR, whose functions may be anything, takes the ``lr`` as the base
rate. A group that has an ``initial_lr`` has that as its base rate in any case.

>>> optimizer = tt.optim.SGD([tt.zeros(1)], lr=1.0)
>>> schedule = tt.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> rates = []
>>> for _ in range(4):
...     rates += schedule.get_last_lr()
...     schedule.step()
>>> rates
[1.0, 1.0, 0.5, 0.5]
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ArgumentError
from ..nn.state import StateDictError
from .optimizer import Optimizer

_UNSAVED = ("optimizer", "lr_lambdas", "schedulers")


class LRScheduler:
    """Base class. A subclass gives ``lr_at(epoch)``, from ``base_lrs``, one for each group.

    As ``torch.optim.lr_scheduler.LRScheduler``.

    Args:
        optimizer: its groups' ``lr`` is set, at once and at every ``step()``. The base rate of a
            group is its ``initial_lr``, which the first schedule made for it sets to its ``lr``.
        last_epoch: count to continue from; -1 starts anew.

    Raises:
        KeyError: ``last_epoch`` is not -1 and a group has no ``initial_lr``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: expected an Optimizer, got {type(optimizer).__name__}"
            )
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: to continue from last_epoch {last_epoch}, "
                    f"parameter group {i} needs 'initial_lr'"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def lr_at(self, epoch: int) -> list[float]:
        """The rate of each group after ``epoch`` calls of ``step()``. A subclass gives it."""
        raise NotImplementedError(f"{type(self).__name__}: lr_at is not implemented")

    def get_lr(self) -> list[float]:
        """The rate of each group at ``last_epoch``."""
        return self.lr_at(self.last_epoch)

    def get_last_lr(self) -> list[float]:
        """The rates that this schedule set last."""
        return self._last_lr

    def step(self) -> None:
        """Count one and set the rates; call it after ``optimizer.step()``."""
        self._meet_new_groups()
        self.last_epoch += 1
        try:
            self._set(self.get_lr())
        except BaseException:
            self.last_epoch -= 1
            raise

    def _set(self, rates: list[float]) -> None:
        groups = self.optimizer.param_groups
        if len(rates) != len(groups):
            raise ArgumentError(
                f"{type(self).__name__}: expected a rate for each of {len(groups)} parameter "
                f"group(s), got {len(rates)}"
            )
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = rates

    def _meet_new_groups(self) -> None:
        """Have a base rate for what ``add_param_group`` has added since the last step."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            group.setdefault("initial_lr", self._base_of(group["lr"], self.last_epoch))
            self.base_lrs.append(float(group["initial_lr"]))

    def _base_of(self, lr: float, epoch: int) -> float:
        """The base rate of a group that comes at ``epoch`` and has ``lr`` then."""
        return lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and any function; plain numbers and lists."""
        return {
            key: list(value) if isinstance(value, list) else value
            for key, value in self.__dict__.items()
            if key not in _UNSAVED
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state. As in PyTorch the optimiser's rates come with *its* state.

        Raises:
            StateDictError: the state belongs to another kind of schedule or other groups.
        """
        self._check_state(state_dict)
        self.__dict__.update(state_dict)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        who, own = type(self).__name__, self.state_dict()
        if state.keys() != own.keys():
            raise StateDictError(f"{who}: expected the keys {sorted(own)}, got {sorted(state)}")
        groups = len(self.optimizer.param_groups)
        if len(state["base_lrs"]) != groups:
            raise StateDictError(
                f"{who}: expected base_lrs for {groups} parameter group(s), "
                f"got {len(state['base_lrs'])}"
            )


class LambdaLR(LRScheduler):
    """base * lr_lambda(epoch).

    As ``torch.optim.lr_scheduler.LambdaLR``.

    Args:
        optimizer, last_epoch: see :class:`LRScheduler`; so in all schedules.
        lr_lambda: a function from the count to a factor, or one for each group. Functions are not
            part of the state. A group that comes later gets the function that all share; where
            they have several, append its own to ``lr_lambdas``.

    Raises:
        ArgumentError: for another number of functions than of groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        n = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * n if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != n:
            raise ArgumentError(f"LambdaLR: expected {n} functions, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def _meet_new_groups(self) -> None:
        missing = len(self.optimizer.param_groups) - len(self.lr_lambdas)
        if missing > 0:
            shared = self.lr_lambdas[0]
            if any(function is not shared for function in self.lr_lambdas):
                raise ArgumentError(
                    f"LambdaLR: expected a function for each of {len(self.optimizer.param_groups)} "
                    f"parameter groups, got {len(self.lr_lambdas)}: append one for each group that "
                    "was added to lr_lambdas"
                )
            self.lr_lambdas += [shared] * missing
        super()._meet_new_groups()

    def lr_at(self, epoch: int) -> list[float]:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(epoch) for base, function in pairs]


class _Factor(LRScheduler):
    """The base of the schedules that multiply every base rate with one number."""

    def factor(self, epoch: int) -> float:
        """The number that every base rate is multiplied with after ``epoch`` steps."""
        raise NotImplementedError(f"{type(self).__name__}: factor is not implemented")

    def lr_at(self, epoch: int) -> list[float]:
        factor = self.factor(epoch)
        return [base * factor for base in self.base_lrs]

    def _base_of(self, lr: float, epoch: int) -> float:
        return _quotient(lr, self.factor(epoch), otherwise=lr)


def _quotient(a: float, b: float, otherwise: float) -> float:
    """a / b, unless that is no number."""
    quotient = a / b if b != 0 else math.inf
    return quotient if math.isfinite(quotient) else otherwise


class StepLR(_Factor):
    """base * gamma ** (epoch // step_size); as ``torch.optim.lr_scheduler.StepLR``.

    Raises:
        ArgumentError: for a step_size below 1.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ArgumentError(f"StepLR: expected step_size >= 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        return float(self.gamma ** (epoch // self.step_size))


class LinearLR(_Factor):
    """base * a factor that goes from start_factor to end_factor in total_iters steps, and stays.

    As ``torch.optim.lr_scheduler.LinearLR``.

    Raises:
        ArgumentError: for a factor outside [0, 1], a start_factor of 0, or total_iters below 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0.0 < start_factor <= 1.0 or not 0.0 <= end_factor <= 1.0:
            raise ArgumentError(
                f"LinearLR: expected start_factor in (0, 1] and end_factor in [0, 1], "
                f"got {start_factor} and {end_factor}"
            )
        if total_iters < 1:
            raise ArgumentError(f"LinearLR: expected total_iters >= 1, got {total_iters}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def factor(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) * (1 + cos(pi * epoch / T_max)) / 2 (Loshchilov and Hutter 2017).

    As ``torch.optim.lr_scheduler.CosineAnnealingLR``: after ``T_max`` it rises again.

    Raises:
        ArgumentError: for a T_max below 1.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR: expected T_max >= 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        return (1.0 + math.cos(math.pi * epoch / self.T_max)) / 2.0

    def lr_at(self, epoch: int) -> list[float]:
        share = self._share(epoch)
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def _base_of(self, lr: float, epoch: int) -> float:
        return self.eta_min + _quotient(lr - self.eta_min, self._share(epoch), lr - self.eta_min)


class SequentialLR(LRScheduler):
    """Schedules one after another: the next begins, at its own zero, at each milestone.

    As ``torch.optim.lr_scheduler.SequentialLR``.

    Args:
        schedulers: made for the same optimiser; only their formulas are used, not their counts.
        milestones: increasing counts, one fewer than the schedules.

    Raises:
        ArgumentError: for milestones that are not so, or a schedule of another optimiser.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: expected one milestone fewer than schedules, "
                f"got {len(self.milestones)} and {len(self.schedulers)}"
            )
        if sorted(set(self.milestones)) != self.milestones:
            raise ArgumentError(f"SequentialLR: expected increasing milestones, got {milestones}")
        if any(s.optimizer is not optimizer for s in self.schedulers):
            raise ArgumentError("SequentialLR: expected schedules of the optimizer that was given")
        super().__init__(optimizer, last_epoch)

    def _at(self, epoch: int) -> tuple[LRScheduler, int]:
        """Which schedule has its turn, and its own count."""
        i = bisect_right(self.milestones, epoch)
        return self.schedulers[i], epoch - (self.milestones[i - 1] if i else 0)

    def lr_at(self, epoch: int) -> list[float]:
        scheduler, own_epoch = self._at(epoch)
        return scheduler.lr_at(own_epoch)

    def _meet_new_groups(self) -> None:
        super()._meet_new_groups()
        for scheduler in self.schedulers:
            scheduler._meet_new_groups()

    def _base_of(self, lr: float, epoch: int) -> float:
        scheduler, own_epoch = self._at(epoch)
        return scheduler._base_of(lr, own_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The state, with those of the schedules."""
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self.schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state and the schedules' states.

        Raises:
            StateDictError: the state belongs to another kind or number of schedules, or other
                groups.
        """
        self._check_state(state_dict)
        states = list(state_dict["schedulers"])
        if len(states) != len(self.schedulers):
            raise StateDictError(
                f"SequentialLR: expected {len(self.schedulers)} schedules, got {len(states)}"
            )
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler._check_state(state)
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "schedulers"})
