"""The nested model that remembers: states that last from batch to batch.

The interface for a checkpoint is :meth:`NestedModelWithState.state_arrays`, a flat dict of numpy
arrays by name, and :meth:`NestedModelWithState.load_state_arrays`, which takes it back bit for bit:
(h, c), the memories and the counters. ``state_dict()`` holds the weights alone, so that weights can
be used with another batch. The names are listed in ``state.py``; before the first batch only the
counters are there.

>>> from tinytape.nested import NestedModelWithState
>>> model = NestedModelWithState(4, 8)
>>> y, _ = model(tt.ones(2, 3, 4))
>>> model.detach_states()
>>> model.lstm_hidden[0].shape, model.steps_since_reset
((1, 2, 4), 1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..creation import tensor
from ..errors import ArgumentError
from ..functional import cat
from ..tensor import Tensor
from .levels import LEVELS, check_features
from .model import Info, NestedModelWithSurprise, check_surprise
from .state import Array, CarriedState, as_mask


class NestedModelWithState(NestedModelWithSurprise):
    """A nested model whose LSTM continues, in each row of the batch, from its last state.

    Feed it contiguous streams: row r of a batch continues row r of the batch before. The state
    belongs to the graph that made it until :meth:`detach_states`, which is to be called after each
    update (truncated back-propagation through time); the values stay.

    With ``memory={"level2_medium": 16.0, "level3_slow": 256.0}`` those levels keep a leaky memory
    of their outputs, each with its own time constant of tau batches. A batch is a call, or
    ``memory_length`` tokens where that is given: then a text that is read token by token, as in
    writing, is remembered as long as in training. With T tokens in a call, L in a batch:

        m_t = d m_(t-1) + (1 - d) mean over time of y_t,    d = exp(-T / (L tau)),    m_0 = 0
        y_t = f(x_t + g * m_(t-1)),  with residual  y_t = x_t + f(x_t + g * m_(t-1))

    with one m (C,) for each row and g (C,) learned from zeros (``memory_gain``, of the level).
    No gradient flows into m: only its use, g, is learned.

    Args:
        input_size, hidden_size: as in :class:`NestedModel`; hidden_size is 4 input_size for None.
        memory: time constants > 0 by level; None for no memory.
        memory_length: L, at least 1; None for the T of each call.
        **options: those of :class:`NestedModel`.

    Raises:
        ValueError: as :class:`NestedModel`; a memory for a level that cannot have one, or with a
            time constant that is not finite and above 0; a memory_length below 1.
    """

    def __init__(
        self,
        input_size: int = 768,
        hidden_size: int | None = None,
        *,
        memory: Mapping[str, float] | None = None,
        memory_length: int | None = None,
        **options: Any,
    ) -> None:
        taus = dict(memory or {})
        for name, tau in taus.items():
            if name not in LEVELS[1:]:
                raise ArgumentError(
                    f"NestedModelWithState: expected memory for {' or '.join(LEVELS[1:])}, "
                    f"got {name!r}"
                )
            number = isinstance(tau, int | float) and not isinstance(tau, bool)
            if not (number and 0 < tau < math.inf):
                raise ArgumentError(
                    f"NestedModelWithState: expected a time constant > 0 for {name}, got {tau!r}"
                )
        if memory_length is not None and not (
            isinstance(memory_length, int)
            and not isinstance(memory_length, bool)
            and memory_length >= 1
        ):
            raise ArgumentError(
                f"NestedModelWithState: expected memory_length to be an int >= 1 or None, "
                f"got {memory_length!r}"
            )
        super().__init__(input_size, hidden_size, _memory=tuple(taus), **options)
        self._taus, self._memory_length = taus, memory_length
        self._carried = CarriedState(input_size, tuple(taus))

    # --- forward --------------------------------------------------------------------------------

    def forward(
        self,
        x: Tensor,
        compute_surprise: bool | str = False,
        reset_states: bool = False,
        boundaries: Any = None,
    ) -> tuple[Tensor, Info | None]:
        """(B, T, C) -> ((B, T, C), None or the inputs and outputs of the levels).

        A batch of another size keeps the state of the first rows; new rows begin with zeros.

        Args:
            compute_surprise: as in :class:`NestedModelWithSurprise`.
            reset_states: begin with zeros in all rows.
            boundaries: (B, T), bool: tokens with which something new begins. The LSTM's state of
                that row is zero before each of them, and a level's memory is not used from the
                first of them on; its memory then begins again, with the mean over the tokens after
                the last of them.

        Raises:
            ValueError: other shapes, an unknown mode, or boundaries that are not booleans.
        """
        check_features(type(self).__name__, x, self.input_size)
        check_surprise(type(self).__name__, compute_surprise)
        batch_size, length, _ = x.shape
        marks = None
        if boundaries is not None:
            marks = as_mask(type(self).__name__, boundaries, (batch_size, length), "boundaries")
            marks = marks if marks.any() else None
        carried = self._carried

        second_order = compute_surprise == "second_order"

        def run(name: str, x: Tensor) -> Tensor:
            if name == LEVELS[0]:
                return self._run_fast(x, marks)
            if name not in self._taus:
                return self._run_level(name, x, second_order)
            level = partial(self.levels[name], second_order=second_order)
            return self._run_remembering(name, level, x, marks)

        seen = self._new_info() if compute_surprise else None
        with carried.unless_refused():
            if reset_states:
                self.reset_states(batch_size)
            carried.fit(batch_size, self._dtype)
            y = self._through(x, run, seen)
            carried.steps_since_reset += 1
            if marks is not None:
                carried.rows_reset += int(marks.sum())
        return y, seen

    def _run_fast(self, x: Tensor, marks: Array | None) -> Tensor:
        carried, level = self._carried, self.level1_fast
        if marks is None:
            y: Tensor
            y, carried.lstm = level(x, carried.lstm)
            return y
        # The sequence is cut where any row begins again; the other rows continue unchanged.
        h, c = carried.lstm
        cuts = np.flatnonzero(marks.any(axis=0)).tolist()
        edges = [*([] if cuts[0] == 0 else [0]), *cuts, x.shape[1]]
        parts = []
        for start, stop in pairwise(edges):
            if start in cuts:
                rows = tensor(marks[:, start])[:, None]
                h, c = h.masked_fill(rows, 0.0), c.masked_fill(rows, 0.0)
            part, (h, c) = level(x.narrow(1, start, stop - start), (h, c))
            parts.append(part)
        carried.lstm = h, c
        return cat(parts, 1) if len(parts) > 1 else parts[0]

    def _run_remembering(
        self, name: str, level: Callable[..., Tensor], x: Tensor, marks: Array | None
    ) -> Tensor:
        memory, length = self._carried.memory(name), x.shape[1]
        if length == 0:
            return level(x)
        d = math.exp(-length / (self._memory_length or length) / self._taus[name])
        if marks is None:
            y = level(x, memory.unsqueeze(1))
            with no_grad():
                self._carried.remember(name, memory * d + y.mean(1) * (1.0 - d))
            return y
        begun = np.maximum.accumulate(marks, axis=1)  # whether anything new has begun by now
        left = np.cumsum(marks[:, ::-1], axis=1)[:, ::-1] - marks  # beginnings that come later
        last = (left == 0) / (left == 0).sum(axis=1, keepdims=True)
        y = level(x, memory.unsqueeze(1).masked_fill(tensor(begun)[:, :, None], 0.0))
        with no_grad():
            mean = (y * tensor(last, dtype=y.dtype).unsqueeze(-1)).sum(1)
            kept = memory.masked_fill(tensor(marks.any(axis=1))[:, None], 0.0)
            self._carried.remember(name, kept * d + mean * (1.0 - d))
        return y

    # --- the state ------------------------------------------------------------------------------

    @property
    def lstm_hidden(self) -> tuple[Tensor, Tensor] | None:
        """(h, c), both (1, B, C), or None before the first batch."""
        return self._carried.lstm if self._carried.tensors else None

    @property
    def steps_since_reset(self) -> int:
        """Batches since all rows were reset last."""
        return self._carried.steps_since_reset

    @property
    def total_resets(self) -> int:
        """The number of resets of all rows."""
        return self._carried.total_resets

    def reset_states(self, batch_size: int | None = None) -> None:
        """Forget everything: zeros for a batch of this size, or nothing until the next batch.

        Raises:
            ValueError: a batch size below 0.
        """
        if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 0):
            raise ArgumentError(f"reset_states: expected a batch size >= 0, got {batch_size!r}")
        self._carried.reset(batch_size, self._dtype)

    def reset_rows(self, mask: Any) -> None:
        """Forget the rows of the batch that are True in ``mask`` (B,): their documents have ended.

        Raises:
            ValueError: other values than booleans, another length, or no state yet.
        """
        if not self._carried.tensors:
            raise ArgumentError("reset_rows: there is no state yet; call forward or reset_states")
        rows = as_mask("reset_rows", mask, (self._carried.batch_size or 0,), "mask")
        if rows.any():
            self._carried.clear_rows(rows)
            self._carried.rows_reset += int(rows.sum())

    def state_snapshot(self) -> CarriedState:
        """The state as it is now, for :meth:`rewind_states`; its tensors are shared, not copied."""
        return self._carried.snapshot()

    def rewind_states(self, snapshot: CarriedState) -> None:
        """Go back to a snapshot, as if nothing had been read since."""
        self._carried = snapshot.snapshot()

    def detach_states(self) -> None:
        """Cut the state from the graph that made it; its values stay."""
        self._carried.detach()

    def get_state_info(self) -> dict[str, Any]:
        """``has_states``, ``steps_since_reset`` (batches), ``total_resets`` (of all rows) and
        ``rows_reset`` (single rows, by hand or at boundaries); where there are states also
        ``batch_size``, ``hidden_shape``, ``hidden_norm``, ``cell_norm`` and ``memory_norms`` by
        level, each the root of the sum of squares over all rows.
        """
        return self._carried.info()

    def state_arrays(self) -> dict[str, Array]:
        """The state and its counters, copied, by name; for a checkpoint."""
        return self._carried.arrays()

    def load_state_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_arrays` gave.

        Raises:
            StateDictError: (a ValueError) names or shapes that are not this model's. Nothing has
                changed then.
        """
        self._carried.load(arrays, self._dtype)

    def fresh_states(self) -> AbstractContextManager[None]:
        """A ``with`` block in which the model begins without state; its own state comes back
        afterwards.

        For an evaluation in the middle of training.
        """
        carried = self._carried
        return self.carrying(CarriedState(carried.input_size, carried.memory_levels))

    @contextmanager
    def carrying(self, states: CarriedState) -> Iterator[None]:
        """A ``with`` block in which the model uses and updates these states instead of its own."""
        before, self._carried = self._carried, states
        try:
            yield
        finally:
            self._carried = before

    @property
    def _dtype(self) -> Any:
        return self.level2_medium.fc.weight.dtype
