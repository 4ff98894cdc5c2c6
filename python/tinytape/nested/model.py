"""The nested model: three levels that are to learn at three speeds.

>>> from tinytape.nested.model import NestedModel
>>> model = NestedModel(8, 16, wiring="independent", mix="learned")
>>> model.mix.shape, model.count_parameters("level2_medium")
((3,), 280)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..creation import zeros
from ..errors import ArgumentError
from ..functional import softmax
from ..nn import Module, Parameter
from ..random import Generator
from ..tensor import Tensor
from .levels import LEVELS, FastLevel, FeedForward, check_features
from .surprise import MODES

WIRINGS = ("sequential", "nested", "independent")
MIXES = ("mean", "learned")

Info = dict[str, dict[str, Tensor]]


class NestedModel(Module):
    """Features (B, T, C) -> features (B, T, C), through three levels.

    ``level1_fast`` is an LSTM of width C, ``level2_medium`` and ``level3_slow`` are feed-forward
    nets C -> hidden -> C with GELU. The model only computes; who updates which level when is the
    business of :class:`ChunkedUpdateScheduler` and :class:`LevelOptimizers`. This is the continuum
    memory of Behrouz et al. 2025 (Nested Learning, arXiv 2512.24695), equations 70 to 74.

    Wirings, with l1, l2, l3 for the levels:

    - ``"sequential"`` (73): y = l3(l2(l1(x))). The default, and that of the original.
    - ``"independent"`` (74): y = sum_k a_k l_k(x), every level sees x; a = (1/3, 1/3, 1/3), or with
      ``mix="learned"`` the softmax of the parameter ``mix`` (3,), which begins as zeros.
    - ``"nested"`` (72): computes what "sequential" computes. What differs is where the weights of a
      level begin: each level but the slowest starts again, whenever the next slower one has been
      updated, from a value that is learned at the pace of that slower one. It is a rule for
      updates, so :class:`LevelOptimizers` does it, when it finds this wiring: see
      :class:`LearnedStarts` for the approximation.

    Args:
        input_size: C.
        hidden_size: between the two layers of a feed-forward level; 4 C for None.
        residual: each level adds its input: y = x + f(x).
        norm: each level normalises what f sees (LayerNorm).
        forget_bias: added to the bias of the LSTM's forget gate; None leaves it as drawn.
        wiring: as above.
        mix: "mean" or "learned", for the independent wiring.
        dtype: of the parameters; float32 by default.
        generator: draws the initial values; ``tt.default_generator`` by default.

    Raises:
        ValueError: a size below 1, an unknown wiring or mix, a forget_bias that is not finite.
    """

    def __init__(
        self,
        input_size: int = 768,
        hidden_size: int | None = 3072,
        *,
        residual: bool = False,
        norm: bool = False,
        forget_bias: float | None = None,
        wiring: str = "sequential",
        mix: str = "mean",
        dtype: Any = None,
        generator: Generator | None = None,
        _memory: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        who = type(self).__name__
        hidden_size = 4 * input_size if hidden_size is None else hidden_size
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(f"{who}: expected {name} to be an int >= 1, got {size!r}")
        if wiring not in WIRINGS:
            raise ArgumentError(
                f"{who}: expected wiring to be one of {', '.join(WIRINGS)}, got {wiring!r}"
            )
        if mix not in MIXES:
            raise ArgumentError(f"{who}: expected mix to be mean or learned, got {mix!r}")
        if mix == "learned" and wiring != "independent":
            raise ArgumentError(f"{who}: mix='learned' is for the independent wiring, not {wiring}")
        self.input_size, self.hidden_size, self.wiring = input_size, hidden_size, wiring
        options: dict[str, Any] = {"residual": residual, "norm": norm, "dtype": dtype}
        options["generator"] = generator
        self.level1_fast = FastLevel(input_size, forget_bias=forget_bias, **options)
        for name in LEVELS[1:]:
            level = FeedForward(input_size, hidden_size, memory=name in _memory, **options)
            self.register_module(name, level)
        made = Parameter(zeros(len(LEVELS), dtype=dtype)) if mix == "learned" else None
        self.register_parameter("mix", made)

    @property
    def levels(self) -> dict[str, Module]:
        """The levels by name, from the fast one to the slow one."""
        return {name: getattr(self, name) for name in LEVELS}

    def get_level_names(self) -> list[str]:
        """The names of the levels, from the fast one to the slow one."""
        return list(LEVELS)

    def get_level_params(self, level_name: str) -> list[Parameter]:
        """The parameters of one level.

        Raises:
            ValueError: no such level.
        """
        if level_name not in LEVELS:
            raise ArgumentError(
                f"get_level_params: expected one of {', '.join(LEVELS)}, got {level_name!r}"
            )
        return list(self.levels[level_name].parameters())

    def count_parameters(self, level_name: str | None = None) -> int:
        """The number of learned values, in one level or in all of the model."""
        found = self.parameters() if level_name is None else self.get_level_params(level_name)
        return sum(p.numel() for p in found if p.requires_grad)

    def forward(self, x: Tensor) -> Any:
        """(B, T, C) -> (B, T, C).

        Raises:
            ShapeError: (a ValueError) another shape.
        """
        return self._through(x, self._run_level)

    def _run_level(self, name: str, x: Tensor, second_order: bool = False) -> Tensor:
        y: Tensor
        if name == LEVELS[0]:
            y, _ = self.level1_fast(x)
        else:
            y = self.levels[name](x, second_order=second_order)
        return y

    def _through(
        self, x: Tensor, run: Callable[[str, Tensor], Tensor], seen: Info | None = None
    ) -> Tensor:
        """The wiring: ``run`` computes a level, ``seen`` notes what went in and came out."""
        check_features(type(self).__name__, x, self.input_size)
        outputs = []
        for name in LEVELS:
            y = run(name, x)
            if seen is not None:
                seen["inputs"][name], seen["activations"][name] = x, y
            outputs.append(y)
            if self.wiring != "independent":
                x = y
        if self.wiring != "independent":
            return outputs[-1]
        if self.mix is None:
            return (outputs[0] + outputs[1] + outputs[2]) * (1.0 / len(LEVELS))
        a = softmax(self.mix, -1)
        return outputs[0] * a[0] + outputs[1] * a[1] + outputs[2] * a[2]


class NestedModelWithSurprise(NestedModel):
    """A :class:`NestedModel` that can return the inputs and outputs of its levels.

    Same arguments. ``activations`` and ``inputs`` are tensors of the graph, so that
    :class:`SurpriseLossComputer` can ask for the gradient at them.
    """

    def forward(
        self, x: Tensor, compute_surprise: bool | str = False
    ) -> tuple[Tensor, Info | None]:
        """(B, T, C) -> ((B, T, C), None), or with ``compute_surprise``
        ((B, T, C), {"activations": {level: y}, "inputs": {level: x}}).

        Args:
            compute_surprise: True, or the mode of :class:`SurpriseLossComputer` that it is for:
                with "second_order" the levels keep results that make that mode quicker.

        Raises:
            ValueError: another shape, or no such mode.
        """
        check_surprise(type(self).__name__, compute_surprise)
        run = partial(self._run_level, second_order=compute_surprise == "second_order")
        seen = self._new_info() if compute_surprise else None
        return self._through(x, run, seen), seen

    @staticmethod
    def _new_info() -> Info:
        return {"activations": {}, "inputs": {}}


def check_surprise(who: str, compute_surprise: bool | str) -> None:
    """Check that ``compute_surprise`` is a bool or a mode of :class:`SurpriseLossComputer`.

    Raises:
        ArgumentError: for another text.
    """
    if isinstance(compute_surprise, str) and compute_surprise not in MODES:
        raise ArgumentError(
            f"{who}: expected compute_surprise to be True, False or one of {', '.join(MODES)}, "
            f"got {compute_surprise!r}"
        )
