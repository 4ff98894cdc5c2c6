"""The base of every optimiser: parameter groups, and state that is keyed by parameter name.

State is created when a parameter is added, not at the first step, so a run that was saved before
its first step resumes like any other. It is found again by name, so the order of the parameters may
change.

>>> model = tt.nn.Linear(2, 1)
>>> optimizer = tt.optim.Adam(model.named_parameters())
>>> sorted(optimizer.state_dict()["state"])
['bias', 'weight']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..autograd import enable_grad, no_grad
from ..errors import ArgumentError
from ..nn.state import MOST_COUNT, Array, StateDictError, assign, misfit
from ..tensor import Tensor

Params = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]
Group = dict[str, Any]


class Optimizer:
    """Base class. A subclass gives ``_check_group``, ``_new_state`` and ``_update_group``.

    As ``torch.optim.Optimizer``, but state exists from the start and is keyed by name.

    Args:
        params: Parameters, ``(name, Parameter)`` pairs as ``Module.named_parameters()`` gives
            them, or dicts ``{"params": ..., option: value}`` with options of their own. A
            Parameter that came from ``Module.parameters()`` knows its name; a bare tensor is
            called ``param_0``, ``param_1``, ... by its place; a name seen before gets ``#2``.
        defaults: the options of a group that does not set them.

    Raises:
        TypeError: ``params`` is a Tensor, or holds something that is not one.
        ValueError: no parameter, a tensor that is not a leaf, one tensor twice, a bad option.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{self._who}: expected an iterable of parameters, got a Tensor; put it into a list"
            )
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        entries: list[Any] = list(params)
        if not entries:
            raise ArgumentError(f"{self._who}: expected at least one parameter, got an empty list")
        groups = entries if isinstance(entries[0], dict) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _who(self) -> str:
        return type(self).__name__

    # --- for subclasses -------------------------------------------------------------------------

    def _check_group(self, group: Group) -> None:
        """Raise ValueError for an option outside its range."""

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        """The state of a parameter that was never updated: Tensors and ints."""
        return {}

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        """Update, in place, the parameters of a group that have a gradient."""
        raise NotImplementedError(f"{self._who}: _update_group is not implemented")

    # --- the public face ------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """Add a group: a dict with ``params`` (as in the constructor) and options of its own.

        Raises:
            ArgumentError: (a ValueError) for a parameter given twice or that is no leaf, or a bad
                option.
        """
        if not isinstance(param_group, dict):
            raise TypeError(
                f"{self._who}.add_param_group: expected a dict, got {type(param_group).__name__}"
            )
        group = {**self.defaults, **param_group}
        params = group["params"]
        entries = [params] if isinstance(params, Tensor) else list(params)
        taken = {name for g in self.param_groups for name in g["param_names"]}
        seen = {id(p) for g in self.param_groups for p in g["params"]}
        group["params"], group["param_names"] = [], []
        for entry in entries:
            param, name = self._named(entry, default=f"param_{len(taken)}")
            if id(param) in seen:
                raise ArgumentError(f"{self._who}: parameter {name!r} was given more than once")
            name = _unique(name, taken)
            taken.add(name)
            seen.add(id(param))
            group["params"].append(param)
            group["param_names"].append(name)
        self._check_group(group)
        self.state |= {param: self._new_state(group, param) for param in group["params"]}
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` make them zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if set_to_none:
                    param.grad = None
                else:
                    param.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what ``closure`` returned.

        Args:
            closure: recomputes the loss and its gradients; called once, with gradients enabled.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            # All gradients are read before the first update, since reading them can fail.
            found = [
                (group, [(p, g) for p in group["params"] if (g := p.grad) is not None])
                for group in self.param_groups
            ]
            for group, pairs in found:
                if pairs:
                    params, grads = zip(*pairs, strict=True)
                    self._update_group(group, list(params), list(grads))
        return loss

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {name: {...}}, "param_groups": [...]}``.

        In ``state`` are ints and tensors that share memory with this optimiser, as in PyTorch; in
        ``param_groups`` the options, with the names of the group's parameters under ``params``.
        """
        state = {
            name: {
                key: value.detach() if isinstance(value, Tensor) else value
                for key, value in self.state[param].items()
            }
            for name, param in self._named_params()
        }
        return {"state": state, "param_groups": [_saved_group(g) for g in self.param_groups]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; tensors may be numpy arrays.

        Raises:
            StateDictError: (a ValueError) listing every name that is missing or unexpected and
                every shape or dtype that differs. Nothing has changed then.
        """
        problems: list[str] = []
        groups = self._match_groups(state_dict, problems)
        tensors, numbers = self._match_state(state_dict, problems)
        if problems:
            raise StateDictError(
                f"Error(s) in loading state_dict for {self._who}:\n\t" + "\n\t".join(problems)
            )
        for target, array in tensors:
            assign(target, array)
        for state, key, value in numbers:
            state[key] = value
        for group, options in groups:
            group.update(options)

    def __repr__(self) -> str:
        lines = [f"{self._who} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [
                f"    {key}: {group[key]}"
                for key in sorted(group)
                if key not in ("params", "param_names")
            ]
        return "\n".join([*lines, ")"])

    # --- names ----------------------------------------------------------------------------------

    def _named(self, entry: Any, default: str) -> tuple[Tensor, str]:
        name = None
        if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
            name, entry = entry
        if not isinstance(entry, Tensor):
            raise TypeError(
                f"{self._who}: expected Tensors or (name, Tensor) pairs, got {type(entry).__name__}"
            )
        name = name or getattr(entry, "name", None) or default
        if not entry.is_leaf:
            raise ArgumentError(
                f"{self._who}: expected leaf tensors, but {name!r} is the result of an operation"
            )
        return entry, name

    def _named_params(self) -> Iterable[tuple[str, Tensor]]:
        for group in self.param_groups:
            yield from zip(group["param_names"], group["params"], strict=True)

    # --- loading: compare first -----------------------------------------------------------------

    def _match_groups(
        self, saved: Mapping[str, Any], problems: list[str]
    ) -> list[tuple[Group, dict[str, Any]]]:
        """Each group with the options it is to take over."""
        saved_groups = saved.get("param_groups")
        if saved_groups is None or len(saved_groups) != len(self.param_groups):
            given = "no param_groups" if saved_groups is None else f"{len(saved_groups)} groups"
            problems.append(f"expected {len(self.param_groups)} parameter group(s), got {given}")
            return []
        matches = []
        for i, (group, saved_group) in enumerate(zip(self.param_groups, saved_groups, strict=True)):
            mine = _saved_group(group)
            theirs = {key: _like(mine.get(key), value) for key, value in saved_group.items()}
            names, saved_names = set(mine.pop("params")), set(theirs.pop("params", ()))
            # initial_lr is there or not according to whether a schedule was made.
            _compare(
                f"option(s) in group {i}",
                set(mine) - {"initial_lr"},
                set(theirs) - {"initial_lr"},
                problems,
            )
            _compare(f"parameter(s) in group {i}", names, saved_names, problems)
            if mine.keys() <= theirs.keys():
                try:
                    self._check_group({**group, **theirs})
                except ArgumentError as error:
                    problems.append(f"bad option in group {i}: {error}")
            matches.append((group, theirs))
        return matches

    def _match_state(
        self, saved: Mapping[str, Any], problems: list[str]
    ) -> tuple[list[tuple[Tensor, Array]], list[tuple[dict[str, Any], str, int]]]:
        """(tensor, its new values) and (state, key, its new count), for all parameters."""
        saved_state = saved.get("state", {})
        own = dict(self._named_params())
        # A parameter without state (SGD without momentum) may be left out of a file.
        mine = {name for name, param in own.items() if self.state[param]}
        _compare("state of parameter(s)", mine, {n for n, s in saved_state.items() if s}, problems)
        tensors, numbers = [], []
        for name, param in own.items():
            if name not in saved_state:
                continue
            state, theirs = self.state[param], saved_state[name]
            _compare(f"key(s) in the state of {name}", set(state), set(theirs), problems)
            for key in state.keys() & theirs.keys():
                target, value = state[key], theirs[key]
                if isinstance(target, Tensor):
                    problem, array = misfit(f"{name}.{key}", target, value)
                    tensors.append((target, array))
                else:
                    problem, number = _as_int(f"{name}.{key}", value)
                    numbers.append((state, key, number))
                if problem:
                    problems.append(problem)
        return tensors, numbers


def _unique(name: str, taken: set[str]) -> str:
    candidate, k = name, 2
    while candidate in taken:
        candidate, k = f"{name}#{k}", k + 1
    return candidate


def _saved_group(group: Group) -> Group:
    options = {key: value for key, value in group.items() if key not in ("params", "param_names")}
    return {**options, "params": list(group["param_names"])}


def _like(mine: Any, value: Any) -> Any:
    """A tuple that went through JSON came back as a list."""
    return tuple(value) if isinstance(mine, tuple) and isinstance(value, list) else value


def _compare(what: str, mine: set[str], theirs: set[str], problems: list[str]) -> None:
    if mine - theirs:
        problems.append(f"Missing {what}: {', '.join(sorted(mine - theirs))}")
    if theirs - mine:
        problems.append(f"Unexpected {what}: {', '.join(sorted(theirs - mine))}")


def _as_int(name: str, value: Any) -> tuple[str | None, int]:
    try:
        number = int(value.item() if hasattr(value, "item") else value)
        if 0 <= number <= MOST_COUNT and number == value:
            return None, number
    except (TypeError, ValueError, OverflowError):  # the last: an infinity
        pass
    return f"bad value for {name}: expected a count of at most 2**53, got {value!r:.60}", 0
