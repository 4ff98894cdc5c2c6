"""The state that a recurrent model carries from token to token, in training and in writing.

>>> from tinytape.models.spec import RecurrentState
>>> state = RecurrentState(hidden=tt.zeros(2, 3))
>>> state["hidden"] = state["hidden"] + 1.0
>>> state.arrays()["hidden"].shape
(2, 3)
>>> state.reset()
>>> state["hidden"].sum().item()
0.0
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...autograd import no_grad
from ...creation import tensor
from ...nn.state import StateDictError
from ...tensor import Tensor


class RecurrentState:
    """Tensors by name, one row for each text that is read: the ``cache`` of a recurrent model.

    ``forward(idx, cache)`` reads ``cache["hidden"]`` and sets it to the state after the tokens.

    Args:
        **tensors: their values before the first token, with the rows as first axis.

    Example:
        >>> import tinytape as tt
        >>> from tinytape.models.spec import RecurrentState
        >>> state = RecurrentState(hidden=tt.zeros(2, 3))
        >>> state["hidden"] = state["hidden"] + 1.0
        >>> state.reset()
        >>> state["hidden"].numpy().sum().item()
        0.0
    """

    #: The most tokens that it holds: no bound.
    context = None

    def __init__(self, **tensors: Tensor) -> None:
        self._begin = dict(tensors)
        self._now = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._now[name]

    def __setitem__(self, name: str, value: Tensor) -> None:
        if name not in self._begin:
            raise KeyError(f"RecurrentState: expected one of {', '.join(self._begin)}, got {name}")
        self._now[name] = value

    def reset(self) -> None:
        """Forget all tokens."""
        self._now = dict(self._begin)

    def detach(self) -> None:
        """Cut the state from the graph that made it; its values stay."""
        self._now = {name: x.detach() for name, x in self._now.items()}

    def snapshot(self) -> dict[str, Tensor]:
        """The state as it is now; for :meth:`rewind`."""
        return dict(self._now)

    def rewind(self, snapshot: dict[str, Tensor]) -> None:
        """Go back to a snapshot."""
        self._now = dict(snapshot)

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, copied, by name; for a checkpoint."""
        return {name: x.numpy() for name, x in self._now.items()}

    def require(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Check that :meth:`load` takes these arrays.

        Raises:
            StateDictError: (a ValueError) other names, shapes or types.
        """
        problems = [f"missing {name}" for name in self._begin if name not in arrays]
        problems += [f"unexpected {name}" for name in arrays if name not in self._begin]
        for name, x in self._begin.items():
            given = arrays.get(name)
            if given is not None and (given.shape != x.shape or given.dtype != x.numpy().dtype):
                problems.append(
                    f"{name}: expected {x.dtype} of shape {tuple(x.shape)}, got {given.dtype} of "
                    f"shape {given.shape}"
                )
        if problems:
            raise StateDictError("RecurrentState: " + "; ".join(sorted(problems)))

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`arrays` gave.

        Raises:
            StateDictError: (a ValueError) other names, shapes or types. Nothing has changed then.
        """
        self.require(arrays)
        with no_grad():
            self._now = {name: tensor(array) for name, array in arrays.items()}
