"""How a kind of model is fed and judged: windows at random places, or streams that read on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import tinytape as tt
from tinytape.nn import functional as F

from ..data import ContiguousStreams, RandomWindows, Splits
from ..models import NestedLM
from ..nested import LEVELS, SurpriseLossComputer
from .arrays import Array
from .config import TrainConfig
from .errors import ConfigError
from .evaluate import held_out_loss, stream_loss

_STATE = "model_state."  # and a name: an array of what the model remembers


class WindowTask:
    """A model that sees windows at random places, each by itself.

    Args:
        model: token ids (B, T) -> logits (B, T, V).
        splits: the text.
        config: of the run.
    """

    starts: np.ndarray | None = None  # where documents begin, for those that look at it

    def __init__(self, model: tt.nn.Module, splits: Splits, config: TrainConfig) -> None:
        self.model = model
        self.held_out = splits.held_out
        self.context: int = model.config.context
        self.windows: RandomWindows | ContiguousStreams = self._windows(splits, config)

    def _windows(self, splits: Splits, config: TrainConfig) -> RandomWindows | ContiguousStreams:
        return RandomWindows(
            splits.train, batch_size=config.batch_size, context=self.context, seed=config.seed
        )

    def losses(self, number: int) -> tuple[tt.Tensor, tt.Tensor]:
        """Of batch ``number``: what is to be minimised, and the mean cross-entropy in it."""
        x, y = self.windows.batch(number)
        loss = cross_entropy(self.model(tt.tensor(x)), y)
        return loss, loss

    def evaluate(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[float], None] = lambda share: None,
    ) -> float | None:
        """The held-out loss, or None when ``should_stop`` said so; the state stays as it is."""
        return held_out_loss(self.model, self.held_out, self.context, should_stop, report)

    def snapshot(self) -> Any:
        """What a batch changes besides gradients; for :meth:`rewind`."""

    def rewind(self, snapshot: Any) -> None:
        """As if nothing had been read since the snapshot."""

    def figures(self) -> dict[str, Any]:
        """What the metrics say about the state."""
        return {}

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """What has to survive a stop, as (JSON tree, arrays)."""
        return {}, {}

    def load(self, tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Check a state that :meth:`state` gave; the function returned takes it over."""
        return lambda: None

    def own_arrays(self, names: set[str]) -> set[str]:
        """Which arrays of a checkpoint are this task's."""
        return set()


class StreamTask(WindowTask):
    """A nested model, fed with contiguous streams: in each row its state goes on.

    Args:
        model: the language model.
        splits: the text.
        config: of the run.
        starts: positions in the whole text where documents begin.

    Raises:
        ConfigError: more rows than the text has places to begin at.
    """

    def __init__(
        self, model: NestedLM, splits: Splits, config: TrainConfig, starts: np.ndarray
    ) -> None:
        documents = config.reset == "document"
        self.starts = starts if documents else None
        self._held_out_starts = starts[starts >= splits.cut] - splits.cut if documents else None
        steps = int(config.reset) if config.reset.isdigit() else 0
        self._every = steps * config.gradient_accumulation_steps  # in batches
        super().__init__(model, splits, config)
        self.nested = model.nested
        self.surprise: SurpriseLossComputer | None = None
        # What the levels are told: "second_order", that they will be differentiated twice.
        self._surprise = "second_order" if config.surprise == "second_order" else True
        if config.surprise != "off":
            weights = map(float, config.surprise_weights.split(","))
            self.surprise = SurpriseLossComputer(
                dict(zip(LEVELS, weights, strict=False)),
                compute_surprise_every_n_steps=config.surprise_every,
                mode=config.surprise,
            )

    def _windows(self, splits: Splits, config: TrainConfig) -> ContiguousStreams:
        rows, places = config.batch_size, len(splits.train) - 1
        if rows > places:
            raise ConfigError(
                f"batch_size: {rows} rows cannot begin at different places of a text with "
                f"{places + 1} characters to train on"
            )
        return ContiguousStreams(
            splits.train, batch_size=rows, context=self.context, starts=self.starts
        )

    def losses(self, number: int) -> tuple[tt.Tensor, tt.Tensor]:
        streams = self.windows
        assert isinstance(streams, ContiguousStreams)
        x, y = streams.batch(number)
        forgets = self._every and number % self._every == 0 and number > 0
        surprised = self.surprise is not None and self.surprise.is_due()
        logits, info = self.model.read(
            tt.tensor(x),
            compute_surprise=self._surprise if surprised else False,
            reset_states=True if forgets else None,
            boundaries=None if self.starts is None else streams.boundaries(number),
        )
        loss = objective = cross_entropy(logits, y)
        if self.surprise is not None:
            objective = loss + self.surprise.compute(loss, info)[0]
        self.nested.detach_states()
        return objective, loss

    def evaluate(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[float], None] = lambda share: None,
    ) -> float | None:
        with self.nested.fresh_states():
            return stream_loss(
                self.model, self.held_out, self.context, self._held_out_starts, should_stop, report
            )

    def snapshot(self) -> Any:
        counter = self.surprise.step_counter if self.surprise else 0
        return self.nested.state_snapshot(), counter

    def rewind(self, snapshot: Any) -> None:
        states, counter = snapshot
        self.nested.rewind_states(states)
        if self.surprise is not None:
            self.surprise.step_counter = counter

    def figures(self) -> dict[str, Any]:
        info = self.nested.get_state_info()
        names = ("steps_since_reset", "total_resets", "rows_reset", "hidden_norm", "cell_norm")
        figures = {name: info.get(name) for name in names}
        if info.get("memory_norms"):
            figures["memory_norms"] = info["memory_norms"]
        return figures

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        arrays: dict[str, Array] = {
            _STATE + name: array for name, array in self.nested.state_arrays().items()
        }
        return {"surprise": self.surprise.state_dict() if self.surprise else {}}, arrays

    def load(self, tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        states = remembered(arrays)
        counter = tree.get("surprise", {})
        with self.nested.fresh_states():  # dropped again: what does not fit raises
            self.nested.load_state_arrays(states)
        if self.surprise is not None and counter:
            SurpriseLossComputer().load_state_dict(counter)

        def take_over() -> None:
            self.nested.load_state_arrays(states)
            if self.surprise is not None and counter:
                self.surprise.load_state_dict(counter)

        return take_over

    def own_arrays(self, names: set[str]) -> set[str]:
        return {name for name in names if name.startswith(_STATE)}


def remembered(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a nested model remembers, of the arrays of a checkpoint."""
    return {
        name.removeprefix(_STATE): array
        for name, array in arrays.items()
        if name.startswith(_STATE)
    }


def cross_entropy(logits: tt.Tensor, y: np.ndarray) -> tt.Tensor:
    """The mean over all targets."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tt.tensor(y.reshape(-1)))
