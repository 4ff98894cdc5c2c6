"""One optimiser a level, each updated at its own pace.

>>> from tinytape.nested import ChunkedUpdateScheduler, LevelOptimizers, NestedModel
>>> model = NestedModel(4, 8)
>>> scheduler = ChunkedUpdateScheduler(
...     {"level1_fast": 1, "level2_medium": 2, "level3_slow": 4}
... )
>>> optimizers = LevelOptimizers(model, scheduler, lr=1e-3)
>>> for step in range(1, 3):
...     model(tt.ones(1, 2, 4)).sum().backward()
...     print(optimizers.step(step))
['level1_fast']
['level1_fast', 'level2_medium']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import _foreach
from ..creation import tensor
from ..errors import ArgumentError
from ..nn import Module, Parameter
from ..nn.state import Array, StateDictError, misfit
from ..optim import Adam, Optimizer
from ..tensor import Tensor
from ._options import check_int, check_number
from .model import NestedModel
from .scheduler import ChunkedUpdateScheduler
from .starts import LearnedStarts

Named = list[tuple[str, Parameter]]
Factory = Callable[..., Optimizer]
REDUCTIONS = ("mean", "sum")


class LevelOptimizers:
    """The optimisers of a model with levels: those that are due are stepped, the others accumulate.

    Gradients accumulate in ``.grad``. At the end of its chunk a level gets, of the gradients
    g_1, ..., g_k that came since its last update,

    - ``reduction="mean"``: their mean. For Adam and its like, which divide the gradient by its own
      size: each update moves the weights by about the rate, for any chunk.
    - ``reduction="sum"``: their sum, with a rate that is not scaled: equation 31 (arXiv: 71) of
      Nested Learning, theta <- theta - eta sum of C error terms. For plain SGD; to Adam sum and
      mean are the same but for eps.

    ``lr_scale="divided"`` divides the rate of a level by the steps that its chunk lasts. The
    original system did that with Adam, which slows a level by C^2: ``PRESETS["original"]``.

    Every parameter learns: one that belongs to no level, as of an embedding or a head around the
    nested model, is updated with the fastest level. In the nested wiring levels also begin again
    from :class:`LearnedStarts`.

    Args:
        model: a :class:`NestedModel`, or a module that holds exactly one.
        scheduler: says when a level is due; its levels are the model's.
        make: a class of optimisers, or a function; called as ``make(named_parameters, lr=rate)``
            for each level.
        lr: the rate; or rates by level.
        reduction, lr_scale: as above.
        max_norm: bound for the norm of the gradient of a level at its update, after the reduction;
            None for none.
        start_rate: of :class:`LearnedStarts`, in the nested wiring.

    Raises:
        TypeError: ``make`` cannot be called.
        ValueError: an option outside its range; not one NestedModel in the model; levels or rates
            that are not the model's; a level of which no parameter requires a gradient.
    """

    def __init__(
        self,
        model: Module,
        scheduler: ChunkedUpdateScheduler,
        make: Factory = Adam,
        *,
        lr: float | Mapping[str, float] = 1e-3,
        reduction: str = "mean",
        lr_scale: str | None = None,
        max_norm: float | None = None,
        start_rate: float = 0.5,
    ) -> None:
        who = "LevelOptimizers"
        if not callable(make):
            raise TypeError(
                f"{who}: expected make to be a class of optimisers, or a function of named "
                f"parameters and lr, got {make!r}"
            )
        if reduction not in REDUCTIONS:
            raise ArgumentError(f"{who}: expected reduction mean or sum, got {reduction!r}")
        if lr_scale not in (None, "divided"):
            raise ArgumentError(f"{who}: expected lr_scale None or 'divided', got {lr_scale!r}")
        if max_norm is not None and not max_norm > 0:
            raise ArgumentError(f"{who}: expected max_norm > 0 or None, got {max_norm!r}")
        found = [m for m in model.modules() if isinstance(m, NestedModel)]
        if len(found) != 1:
            raise ArgumentError(f"{who}: expected a model with one NestedModel, found {len(found)}")
        nested = found[0]
        if set(nested.levels) != set(scheduler.levels):
            raise ArgumentError(
                f"{who}: the model has the levels {', '.join(nested.levels)}, the scheduler "
                f"{', '.join(scheduler.levels)}"
            )
        self.scheduler = scheduler
        self.reduction = reduction
        self.lr_scale = lr_scale
        self.max_norm = max_norm
        self.params = _by_level(model, nested, scheduler)
        self.optimizers: dict[str, Optimizer] = {}
        rates = self._rates(lr)
        for level, named in self.params.items():
            if not named:
                raise ArgumentError(f"{who}: no parameter of {level} requires a gradient")
            self.optimizers[level] = make(list(named), lr=rates[level])
        #: Steps whose gradients are in ``.grad`` and were not used yet, by level.
        self.pending = dict.fromkeys(self.params, 0)
        self.starts: LearnedStarts | None = None
        if nested.wiring == "nested":
            own = {level: {id(p) for p in m.parameters()} for level, m in nested.levels.items()}
            learned = {
                level: [(n, p) for n, p in named if id(p) in own[level]]
                for level, named in self.params.items()
            }
            self.starts = LearnedStarts(learned, start_rate)

    def step(self, global_step: int) -> list[str]:
        """After the backward pass of step ``global_step`` (from 1): update the levels that are due.

        Their gradients are forgotten; those of the others stay, and add up. Returns the levels
        that were updated, from fast to slow.

        Raises:
            ValueError: no such step. Nothing has changed then.
        """
        global_step = check_int("LevelOptimizers.step: expected a step", global_step, 1)
        due = [k for k in self.optimizers if self.scheduler.should_update(k, global_step)]
        for level in self.pending:
            self.pending[level] += 1
        for level in due:
            self._reduce(level)
            self.optimizers[level].step()
            self.optimizers[level].zero_grad()
            self.pending[level] = 0
            self.scheduler.mark_updated(level, global_step)
        if self.starts is not None:
            for level in due:
                self.starts.restart(level)
        return due

    def _reduce(self, level: str) -> None:
        grads = [g for _, p in self.params[level] if (g := p.grad) is not None]
        if self.reduction == "mean" and self.pending[level] > 1:
            by_dtype: dict[Any, list[Tensor]] = {}
            for g in grads:
                by_dtype.setdefault(g.dtype, []).append(g)
            for same in by_dtype.values():
                _foreach.scale_(same, 1.0 / self.pending[level])
        if self.max_norm is not None and grads:
            _foreach.clip_(grads, _foreach.grad_norm(grads), self.max_norm)

    def zero_grad(self) -> None:
        """Forget the gradients of all levels, accumulated ones too."""
        for level, optimizer in self.optimizers.items():
            optimizer.zero_grad()
            self.pending[level] = 0

    # --- rates ----------------------------------------------------------------------------------

    def set_lr(self, lr: float | Mapping[str, float]) -> None:
        """Set a new rate, or new rates by level, scaled by ``lr_scale``.

        Raises:
            ValueError: a rate that is no finite number >= 0; other levels than the model's.
                Nothing has changed then.
        """
        for level, rate in self._rates(lr).items():
            for group in self.optimizers[level].param_groups:
                group["lr"] = rate

    def get_lr(self) -> dict[str, float]:
        """The rate of each level as its optimiser has it, after scaling."""
        return {level: float(o.param_groups[0]["lr"]) for level, o in self.optimizers.items()}

    def _rates(self, lr: float | Mapping[str, float]) -> dict[str, float]:
        sizes = self.scheduler.chunk_sizes
        rates = dict(lr) if isinstance(lr, Mapping) else dict.fromkeys(sizes, lr)
        if set(rates) != set(sizes):
            raise ArgumentError(
                f"LevelOptimizers: expected a rate for each of {', '.join(sizes)}, "
                f"got {', '.join(rates) or 'none'}"
            )
        for level, rate in rates.items():
            rates[level] = check_number(f"LevelOptimizers: expected the rate of {level}", rate, 0)
            if self.lr_scale == "divided":
                rates[level] /= self.scheduler.steps_per_update(level)
        return rates

    # --- state ----------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Parameters leave their gradients behind when they are pickled or copied, as in PyTorch;
        so their sums are not counted either. ``state_dict`` has them."""
        return {**self.__dict__, "pending": dict.fromkeys(self.pending, 0)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run resumes from in the middle of a chunk, keyed by name.

        ``levels`` (the state of each optimiser), ``pending``, ``gradients`` by parameter (all that
        is in ``.grad``), ``scheduler``, and in the nested wiring ``starts``. Tensors share memory
        with the optimisers and the parameters.
        """
        state: dict[str, Any] = {
            "levels": {level: o.state_dict() for level, o in self.optimizers.items()},
            "pending": dict(self.pending),
            "gradients": {
                name: grad.detach()
                for named in self.params.values()
                for name, p in named
                if (grad := p.grad) is not None
            },
            "scheduler": self.scheduler.state_dict(),
        }
        if self.starts is not None:
            state["starts"] = self.starts.state_dict()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; tensors may be numpy arrays.

        Raises:
            ValueError: names, shapes or levels that differ. Nothing has changed then.
        """
        levels, pending = state_dict.get("levels", {}), state_dict.get("pending", {})
        for what, given in (("levels", levels), ("pending", pending)):
            if set(given) != set(self.optimizers):
                raise StateDictError(
                    f"LevelOptimizers.load_state_dict: expected {what} of "
                    f"{', '.join(self.optimizers)}, got {', '.join(given) or 'none'}"
                )
        for level, count in pending.items():
            check_int(f"LevelOptimizers.load_state_dict: expected pending of {level}", count, 0)
        gradients = self._match_gradients(state_dict.get("gradients", {}))
        if (self.starts is None) != ("starts" not in state_dict):
            raise StateDictError(
                "LevelOptimizers.load_state_dict: starting values are for the nested wiring, and "
                "for it only"
            )
        parts: list[tuple[Any, Any]] = [(o, levels[level]) for level, o in self.optimizers.items()]
        parts.append((self.scheduler, state_dict.get("scheduler", {})))
        if self.starts is not None:
            parts.append((self.starts, state_dict["starts"]))
        undo: list[tuple[Any, Any]] = []
        try:
            for part, state in parts:
                undo.append((part, _copied(part.state_dict())))
                part.load_state_dict(state)
        except BaseException:  # any exception, an interrupt as well: all of it or nothing
            for part, before in undo:
                part.load_state_dict(before)
            raise
        self.pending = {level: int(pending[level]) for level in self.optimizers}
        for named in self.params.values():
            for name, p in named:
                array = gradients.get(name)
                p.grad = None if array is None else tensor(array, dtype=p.dtype)

    def _match_gradients(self, given: Mapping[str, Any]) -> dict[str, Array]:
        own = {name: p for named in self.params.values() for name, p in named}
        problems = [f"unexpected gradient of {name}." for name in given if name not in own]
        found = {}
        for name in given.keys() & own.keys():
            problem, found[name] = misfit(f"gradient of {name}", own[name], given[name])
            problems += [problem] if problem else []
        if problems:
            raise StateDictError("LevelOptimizers.load_state_dict: " + " ".join(sorted(problems)))
        return found

    def __repr__(self) -> str:
        kinds = ", ".join(f"{k}={type(o).__name__}" for k, o in self.optimizers.items())
        return f"LevelOptimizers({kinds}, {self.reduction}, {self.scheduler!r})"


def _by_level(
    model: Module, nested: NestedModel, scheduler: ChunkedUpdateScheduler
) -> dict[str, Named]:
    """Named parameters by level, levels from fast to slow; the fastest also has all the rest."""
    order = sorted(nested.levels, key=lambda level: scheduler.chunk_sizes[level])
    owner = {id(p): level for level, m in nested.levels.items() for p in m.parameters()}
    params: dict[str, Named] = {level: [] for level in order}
    for name, param in model.named_parameters():
        if param.requires_grad:
            params[owner.get(id(param), order[0])].append((name, param))
    return params


def _copied(tree: Any) -> Any:
    """The state with its tensors copied, so that it does not change."""
    if isinstance(tree, Tensor):
        return tree.numpy()
    if isinstance(tree, Mapping):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_copied(value) for value in tree]
    return tree
