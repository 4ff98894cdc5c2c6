"""The steps at which each level is updated.

>>> from tinytape.nested import ChunkedUpdateScheduler
>>> scheduler = ChunkedUpdateScheduler({"fast": 1, "slow": 3})
>>> [step for step in range(1, 8) if scheduler.should_update("slow", step)]
[3, 6]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ._options import check_int

_STATE = ("last_update_step", "update_counts")


class ChunkedUpdateScheduler:
    """Each level is updated once a chunk, at whole multiples of it, counted from the first step.

    With ``unit="steps"`` a level of chunk C is due at the steps C, 2C, 3C, ... (steps count from 1;
    none is due at step 0). With ``unit="tokens"`` a chunk is counted in tokens of the stream, of
    which each step reads ``tokens_per_step``: a level is due when the last step has crossed a
    multiple of its chunk, at most once a step. It is the schedule of the continuum memory, equation
    71 of Nested Learning, "0 = i mod C".

    Nothing is printed: :meth:`table` gives the text.

    Args:
        chunk_sizes: C >= 1 by level.
        unit: "steps" or "tokens".
        tokens_per_step: for the unit "tokens", and only for it.

    Raises:
        TypeError: chunk_sizes is no mapping.
        ValueError: no level, a chunk below 1, an unknown unit, tokens_per_step missing or unneeded.
    """

    def __init__(
        self,
        chunk_sizes: Mapping[str, int],
        *,
        unit: str = "steps",
        tokens_per_step: int | None = None,
    ) -> None:
        if not isinstance(chunk_sizes, Mapping):
            raise TypeError(
                "ChunkedUpdateScheduler: expected chunk_sizes to be a dict of chunks by level, "
                f"got {type(chunk_sizes).__name__}"
            )
        if not chunk_sizes:
            raise ArgumentError("ChunkedUpdateScheduler: expected at least one level")
        self.chunk_sizes = {
            level: check_int(f"ChunkedUpdateScheduler: expected the chunk of {level}", size, 1)
            for level, size in chunk_sizes.items()
        }
        if unit not in ("steps", "tokens"):
            raise ArgumentError(
                f"ChunkedUpdateScheduler: expected unit to be steps or tokens, got {unit!r}"
            )
        if (unit == "tokens") != (tokens_per_step is not None):
            raise ArgumentError(
                "ChunkedUpdateScheduler: tokens_per_step is needed for the unit tokens, and only "
                f"for it; got unit {unit!r} and tokens_per_step {tokens_per_step!r}"
            )
        if tokens_per_step is not None:
            what = "ChunkedUpdateScheduler: expected tokens_per_step"
            tokens_per_step = check_int(what, tokens_per_step, 1)
        self.unit = unit
        self.tokens_per_step = tokens_per_step
        self.last_update_step: dict[str, int] = {}
        self.update_counts: dict[str, int] = {}
        self.reset()

    @property
    def levels(self) -> list[str]:
        """The levels, in the order in which they were given."""
        return list(self.chunk_sizes)

    def should_update(self, level_name: str, global_step: int) -> bool:
        """Whether the level is due at this step, which counts from 1.

        Raises:
            ValueError: no such level, or no such step.
        """
        step = self._check("should_update", level_name, global_step)
        return step > 0 and self._due(level_name, step) > self._due(level_name, step - 1)

    def mark_updated(self, level_name: str, global_step: int) -> None:
        """Note that the level was updated at this step.

        Raises:
            ArgumentError: (a ValueError) no such level, or no such step.
        """
        step = self._check("mark_updated", level_name, global_step)
        self.last_update_step[level_name] = step
        self.update_counts[level_name] += 1

    def should_zero_grad(self, level_name: str, global_step: int) -> bool:
        """Whether the level was updated at this very step, so that its gradients are used up.

        Raises:
            ArgumentError: (a ValueError) no such level, or no such step.
        """
        step = self._check("should_zero_grad", level_name, global_step)
        return self.last_update_step[level_name] == step

    def steps_per_update(self, level_name: str) -> float:
        """The mean number of steps from one update of the level to the next.

        Raises:
            ArgumentError: (a ValueError) no such level.
        """
        self._check("steps_per_update", level_name)
        return max(1.0, self.chunk_sizes[level_name] / (self.tokens_per_step or 1))

    def get_update_count(self, level_name: str) -> int:
        """The number of updates of the level so far.

        Raises:
            ArgumentError: (a ValueError) no such level.
        """
        self._check("get_update_count", level_name)
        return self.update_counts[level_name]

    def get_stats(self, global_step: int) -> dict[str, dict[str, int]]:
        """For each level ``chunk_size``, ``update_count``, ``expected_updates`` by this step,
        ``last_update_step`` (-1 for never) and ``steps_since_update``.

        Raises:
            ArgumentError: (a ValueError) no such step.
        """
        global_step = check_int("get_stats: expected a step", global_step, 0)
        stats = {}
        for level, size in self.chunk_sizes.items():
            last = self.last_update_step[level]
            stats[level] = {
                "chunk_size": size,
                "update_count": self.update_counts[level],
                "expected_updates": min(global_step, self._due(level, global_step)),
                "last_update_step": last,
                "steps_since_update": global_step - max(last, 0),
            }
        return stats

    def reset(self) -> None:
        """As in the beginning: no level was ever updated."""
        self.last_update_step = dict.fromkeys(self.chunk_sizes, -1)
        self.update_counts = dict.fromkeys(self.chunk_sizes, 0)

    def state_dict(self) -> dict[str, Any]:
        """The counts and the last steps of updates, by level."""
        return {name: dict(getattr(self, name)) for name in _STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave.

        Raises:
            ValueError: the state of other levels, or counts that are none. Nothing has changed.
        """
        found = {}
        for name in _STATE:
            theirs = state_dict.get(name)
            if not isinstance(theirs, Mapping) or set(theirs) != set(self.chunk_sizes):
                raise ArgumentError(
                    f"ChunkedUpdateScheduler.load_state_dict: expected {name} of "
                    f"{', '.join(self.chunk_sizes)}, got {theirs!r:.80}"
                )
            what = f"ChunkedUpdateScheduler.load_state_dict: expected {name} of"
            least = -1 if name == "last_update_step" else 0
            found[name] = {
                level: check_int(f"{what} {level}", theirs[level], least)
                for level in self.chunk_sizes
            }
        for name, value in found.items():
            setattr(self, name, value)

    def table(self, global_step: int) -> str:
        """The statistics as lines of text."""
        rows: list[tuple[str, ...]] = [("level", "chunk", "updates", "expected", "last", "pending")]
        for level, s in self.get_stats(global_step).items():
            rows.append((level, *(str(s[key]) for key in s)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = []
        for first, *rest in rows:
            cells = [first.ljust(widths[0])]
            cells += [x.rjust(n) for x, n in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join(cells))
        return "\n".join(lines)

    def __repr__(self) -> str:
        chunks = ", ".join(f"{level}={size}" for level, size in self.chunk_sizes.items())
        rest = "" if self.unit == "steps" else f", tokens, {self.tokens_per_step} a step"
        return f"ChunkedUpdateScheduler({chunks}{rest})"

    def _due(self, level: str, step: int) -> int:
        """Multiples of the chunk that lie at or before the end of this step."""
        return step * (self.tokens_per_step or 1) // self.chunk_sizes[level]

    def _check(self, who: str, level: str, step: int = 0) -> int:
        """The step, as Python's int; raise ArgumentError for another level or step."""
        if level not in self.chunk_sizes:
            raise ArgumentError(
                f"{who}: unknown level {level!r}, expected one of {', '.join(self.chunk_sizes)}"
            )
        return check_int(f"{who}: expected a step", step, 0)
