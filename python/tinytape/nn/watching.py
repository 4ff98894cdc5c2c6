"""What the weights of layers meet: told to whoever watches.

A rule such as the delta rule needs a layer's inputs beside its gradient. Hooks on modules would not
do: a fused path hands a layer's weight straight to a function. So it is the functions that tell.
"""

from __future__ import annotations

from typing import Protocol
from weakref import ref

from ..autograd import is_grad_enabled, no_grad
from ..tensor import Tensor


class Watcher(Protocol):
    """Somebody who wants to know."""

    def saw(self, weight: Tensor, input: Tensor) -> None:
        """``weight`` (out, in) was multiplied with ``input`` (..., in). Nothing is recorded."""


#: Empty in most programs, and then a function asks no further. A watcher ends when nobody else
#: holds it.
watchers: list[ref[Watcher]] = []


def watch(watcher: Watcher) -> None:
    """Tell ``watcher`` from now on."""
    watchers.append(ref(watcher, watchers.remove))


def tell(weight: Tensor, input: Tensor) -> None:
    """Let every watcher know, where a gradient may follow."""
    if is_grad_enabled():
        with no_grad():
            _tell(weight, input)


def tell_recurrent(weight: Tensor, h_0: Tensor, output: Tensor, batch_first: bool) -> None:
    """The same for a recurrent weight, which meets h_0 and every output but the last."""
    if is_grad_enabled() and output.numel() > 0:
        with no_grad():
            _tell(weight, h_0)
            _tell(weight, output[:, :-1] if batch_first else output[:-1])


def _tell(weight: Tensor, input: Tensor) -> None:
    for reference in tuple(watchers):
        watcher = reference()
        if watcher is not None:
            watcher.saw(weight, input)
