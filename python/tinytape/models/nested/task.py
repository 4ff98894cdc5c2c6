"""How a nested model is fed and judged: with streams, as its settings say.

>>> from tinytape.models.nested.task import NestedTask
>>> from tinytape.models.spec import StreamTask
>>> issubclass(NestedTask, StreamTask)
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ...creation import tensor
from ...data import ContiguousStreams, Splits, document_starts
from ...nested import LEVELS, SurpriseLossComputer
from ...nn import Module
from ...tensor import Tensor
from ..spec import StreamTask, as_saved, cross_entropy, remembered, stream_loss
from ..spec.state_types import COUNT, NamesTo
from ..spec.tasks import Array
from .model import NestedLM
from .settings import NestedTrainSettings


class NestedTask(StreamTask):
    """A nested model, which holds its state itself, its documents and its surprise loss.

    Args:
        model: the language model.
        splits: the text as ids.
        config: the settings of the run.
        text: the whole text, in which documents are found.

    Raises:
        ConfigError: more rows than the text has places to begin at.
    """

    state_types: ClassVar = {"surprise": NamesTo(COUNT)}

    model: NestedLM
    windows: ContiguousStreams

    def __init__(
        self, model: NestedLM, splits: Splits, config: NestedTrainSettings, text: str
    ) -> None:
        self.starts: np.ndarray | None = None  # where documents begin, for those that look at it
        self._separator = config.separator
        self._held_out_starts = None
        if config.reset == "document":
            self.starts = starts = document_starts(text, config.separator)
            self._held_out_starts = starts[starts >= splits.cut] - splits.cut
        steps = int(config.reset) if config.reset.isdigit() else 0
        self._every = steps * config.gradient_accumulation_steps  # in batches
        self.nested = model.nested
        super().__init__(model, splits, config, text)
        self.surprise: SurpriseLossComputer | None = None
        # The levels' mode: "second_order" says that they will be differentiated twice.
        self._surprise = "second_order" if config.surprise == "second_order" else True
        if config.surprise != "off":
            weights = map(float, config.surprise_weights.split(","))
            self.surprise = SurpriseLossComputer(
                dict(zip(LEVELS, weights, strict=False)),
                compute_surprise_every_n_steps=config.surprise_every,
                mode=config.surprise,
            )

    def _windows(self, splits: Splits, config: Any) -> ContiguousStreams:
        return self._streams(splits, config.batch_size, self.starts)

    def losses(self, number: int) -> tuple[Tensor, Tensor]:
        streams = self.windows
        x, y = streams.batch(number)
        forgets = self._every and number % self._every == 0 and number > 0
        surprised = self.surprise is not None and self.surprise.is_due()
        logits, info = self.model.read(
            tensor(x),
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
                self.model,
                self.held_out,
                self.context,
                self._held_out_starts,
                should_stop,
                report,
                read=lambda x, marks: self.model.read(x, boundaries=marks)[0],
            )

    def snapshot(self) -> Any:
        counter = self.surprise.step_counter if self.surprise else 0
        return self.nested.state_snapshot(), counter

    def rewind(self, snapshot: Any) -> None:
        states, counter = snapshot
        self.nested.rewind_states(states)
        if self.surprise is not None:
            self.surprise.step_counter = counter

    def metrics(self) -> dict[str, Any]:
        info = self.nested.get_state_info()
        names = ("steps_since_reset", "total_resets", "rows_reset", "hidden_norm", "cell_norm")
        found = {name: info.get(name) for name in names}
        if info.get("memory_norms"):
            found["memory_norms"] = info["memory_norms"]
        return found

    def about_text(self) -> list[tuple[str, str]]:
        if self.starts is None:
            return []
        found = f"{len(self.starts):,} begin after {self._separator!r}, and one with the text"
        return [("documents", found)]

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        arrays = as_saved(self.nested.state_arrays())
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

    @classmethod
    def require_state(cls, model: Module, arrays: Mapping[str, np.ndarray]) -> None:
        model.nested.load_state_arrays(remembered(arrays))
