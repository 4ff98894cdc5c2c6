"""Tasks: how a kind of model is fed and judged, with random windows or with contiguous streams.

>>> import numpy as np
>>> from tinytape import models
>>> from tinytape.data import Splits
>>> from tinytape.models.spec import TrainSettings, WindowTask
>>> text = Splits(np.arange(200) % 5, cut=150)
>>> model = models.create("tiny", vocab_size=5)
>>> task = WindowTask(model, text, TrainSettings(batch_size=2), "")
>>> objective, loss = task.losses(number=0)
>>> 0.0 < loss.item() < 3.0
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ...creation import tensor
from ...data import ContiguousStreams, RandomWindows, Splits
from ...errors import ConfigError
from ...nn import Module
from ...nn import functional as F
from ...tensor import Tensor
from .evaluate import held_out_loss, stream_loss
from .train_settings import TrainSettings

Array = np.ndarray | Tensor
_STATE = "model_state."  # and a name: an array of the model's state


class WindowTask:
    """A model that sees windows at random places, each by itself.

    Args:
        model: token ids (B, T) -> logits (B, T, V).
        splits: the text as ids.
        config: the settings of the run.
        text: the whole text.
    """

    #: The types of the JSON tree that :meth:`state` returns, as ``state_types.py`` describes them.
    state_types: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: Module, splits: Splits, config: TrainSettings, text: str) -> None:
        self.model = model
        self.held_out = splits.held_out
        self.context: int = model.config.context
        self.windows: RandomWindows | ContiguousStreams = self._windows(splits, config)

    def _windows(self, splits: Splits, config: TrainSettings) -> RandomWindows | ContiguousStreams:
        return RandomWindows(
            splits.train, batch_size=config.batch_size, context=self.context, seed=config.seed
        )

    def losses(self, number: int) -> tuple[Tensor, Tensor]:
        """The loss of batch ``number`` that is minimised, and its mean cross-entropy."""
        x, y = self.windows.batch(number)
        loss = cross_entropy(self.model(tensor(x)), y)
        return loss, loss

    def evaluate(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[float], None] = lambda share: None,
    ) -> float | None:
        """The held-out loss, or None when ``should_stop`` returned True; keeps the state."""
        return held_out_loss(self.model, self.held_out, self.context, should_stop, report)

    def snapshot(self) -> Any:
        """The state that a batch changes besides gradients; for :meth:`rewind`."""

    def rewind(self, snapshot: Any) -> None:
        """Go back to a snapshot, as if nothing had been read since."""

    def metrics(self) -> dict[str, Any]:
        """The entries about the state in the line of metrics."""
        return {}

    def about_text(self) -> list[tuple[str, str]]:
        """Lines about the text for the report, each a title or "" and a text."""
        return []

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The state that has to survive a stop, as (JSON tree, arrays)."""
        return {}, {}

    def load(self, tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Check a state that :meth:`state` gave; the function that is returned takes it over."""
        return lambda: None

    def own_arrays(self, names: set[str]) -> set[str]:
        """The names among ``names`` of a checkpoint's arrays that are this task's."""
        return set()

    @classmethod
    def require_state(cls, model: Module, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise ValueError unless the arrays of a checkpoint hold a state of such a model."""


class StreamTask(WindowTask):
    """A model with a state, fed with contiguous streams: in each row its state continues.

    The state is what ``model.new_cache(rows)`` gives, a :class:`RecurrentState`; the model is
    called with it as ``cache``. No gradient flows from one batch into the one before.

    Raises:
        ConfigError: more rows than the text has places to begin at.
    """

    carried: Any

    def __init__(self, model: Module, splits: Splits, config: TrainSettings, text: str) -> None:
        super().__init__(model, splits, config, text)
        self.carried = model.new_cache(config.batch_size)

    def _windows(self, splits: Splits, config: TrainSettings) -> ContiguousStreams:
        return self._streams(splits, config.batch_size)

    def _streams(
        self, splits: Splits, rows: int, starts: np.ndarray | None = None
    ) -> ContiguousStreams:
        places = len(splits.train) - 1
        if rows > places:
            raise ConfigError(
                f"batch_size: {rows} rows cannot begin at different places of a text with "
                f"{places + 1} characters to train on"
            )
        return ContiguousStreams(splits.train, batch_size=rows, context=self.context, starts=starts)

    def losses(self, number: int) -> tuple[Tensor, Tensor]:
        x, y = self.windows.batch(number)
        loss = cross_entropy(self.model(tensor(x), cache=self.carried), y)
        self.carried.detach()
        return loss, loss

    def evaluate(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[float], None] = lambda share: None,
    ) -> float | None:
        return stream_loss(
            self.model, self.held_out, self.context, should_stop=should_stop, report=report
        )

    def snapshot(self) -> Any:
        return self.carried.snapshot()

    def rewind(self, snapshot: Any) -> None:
        self.carried.rewind(snapshot)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {}, as_saved(self.carried.arrays())

    def load(self, tree: dict[str, Any], arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        states = remembered(arrays)
        self.carried.require(states)
        return lambda: self.carried.load(states)

    def own_arrays(self, names: set[str]) -> set[str]:
        return {name for name in names if name.startswith(_STATE)}

    @classmethod
    def require_state(cls, model: Module, arrays: Mapping[str, np.ndarray]) -> None:
        states = remembered(arrays)
        rows = max((len(array) for array in states.values() if array.ndim), default=1)
        model.new_cache(rows).require(states)


def remembered(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint that are the model's state, by their names in the state."""
    return {
        name.removeprefix(_STATE): array
        for name, array in arrays.items()
        if name.startswith(_STATE)
    }


def as_saved(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse: the arrays of a model's state, by their names in a checkpoint."""
    return {_STATE + name: array for name, array in arrays.items()}


def cross_entropy(logits: Tensor, y: np.ndarray) -> Tensor:
    """The mean over all targets."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tensor(y.reshape(-1)))
