"""Starting values of levels that are learned at the pace of the next slower level.

>>> from tinytape.nested.starts import LearnedStarts
>>> fast = tt.nn.Parameter(tt.zeros(2))
>>> starts = LearnedStarts({"fast": [("w", fast)], "slow": []}, rate=0.5)
>>> tensor = fast.detach().fill_(4.0)  # a chunk of updates moved the fast level
>>> starts.restart("slow")
>>> fast.tolist()
[2.0, 2.0]
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..nn import Parameter
from ..nn.state import StateDictError, assign, misfit
from ..tensor import Tensor


class LearnedStarts:
    """The nested wiring of the continuum memory (Nested Learning, equation 72), to first order.

    There a level begins each chunk of the next slower one from an initial value that the slower one
    has learned: the value from which the fast level learns best. With chunks C of steps that is
    every ceil(C_slow / C_fast) updates of the fast level. The exact gradient of the loss with
    respect to the initial value goes through all updates of the chunk; here it is replaced by the
    first-order rule of Reptile (Nichol et al. 2018). When the slower level has been updated,

        start <- start + rate (weights - start),    weights <- start

    for the weights of the fast level. At rate 1 nothing is ever taken back and this is the
    sequential wiring; with a smaller rate more of a chunk's changes is forgotten, except for their
    mean direction. The optimiser's moments continue. The slowest level has no start.

    The starting values are those of the weights when this is made: weights that are to be loaded
    are loaded before.

    Args:
        levels: named parameters by level, in the order from fast to slow.
        rate: in (0, 1].

    Raises:
        ValueError: another rate.
    """

    def __init__(
        self, levels: Mapping[str, list[tuple[str, Parameter]]], rate: float = 0.5
    ) -> None:
        if not 0.0 < rate <= 1.0:
            raise ArgumentError(f"LearnedStarts: expected a rate in (0, 1], got {rate!r}")
        self.rate = rate
        names = list(levels)
        #: Slower level -> the named parameters that begin again when it was updated.
        self._follows = {slow: list(levels[fast]) for fast, slow in pairwise(names)}
        self._starts: dict[str, Tensor] = {}
        with no_grad():
            for named in self._follows.values():
                self._starts |= {name: p.detach().clone() for name, p in named}

    def restart(self, slow_level: str) -> None:
        """Start the next faster level again, after ``slow_level`` was updated."""
        for name, param in self._follows.get(slow_level, []):
            start = self._starts[name]
            with no_grad():
                start.copy_(start + (param.detach() - start) * self.rate)
                param.detach().copy_(start)

    def state_dict(self) -> dict[str, Tensor]:
        """The starting values by name; they share memory with this object."""
        return {name: x.detach() for name, x in self._starts.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; tensors may be numpy arrays.

        Raises:
            StateDictError: names or shapes that differ. Nothing has changed then.
        """
        if set(state_dict) != set(self._starts):
            differ = ", ".join(sorted(set(state_dict) ^ set(self._starts)))
            raise StateDictError(f"LearnedStarts.load_state_dict: names that differ: {differ}")
        found = {name: misfit(name, x, state_dict[name]) for name, x in self._starts.items()}
        problems = [problem for problem, _ in found.values() if problem]
        if problems:
            raise StateDictError("LearnedStarts.load_state_dict: " + " ".join(problems))
        for name, (_, array) in found.items():
            assign(self._starts[name], array)
