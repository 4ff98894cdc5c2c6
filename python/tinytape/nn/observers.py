"""Observers of the inputs that the weights of layers are multiplied with.

A rule such as the delta rule needs a layer's inputs beside its gradient. Hooks on modules would not
be enough: a fused path hands a layer's weight straight to a function. So the functions of
``nn.functional`` notify the observers.

>>> from tinytape.nn.observers import add_observer
>>> class Shapes:
...     def observe(self, weight, input):
...         print(weight.shape, input.shape)
>>> observer = Shapes()
>>> add_observer(observer)
>>> y = tt.nn.Linear(3, 2)(tt.ones(5, 3))
(2, 3) (5, 3)
>>> del observer  # which ends it
"""

from __future__ import annotations

from typing import Protocol
from weakref import ref

from ..autograd import is_grad_enabled, no_grad
from ..tensor import Tensor


class Observer(Protocol):
    """The protocol of an observer, for :func:`add_observer`."""

    def observe(self, weight: Tensor, input: Tensor) -> None:
        """``weight`` (out, in) was multiplied with ``input`` (..., in). Nothing is recorded."""


#: Empty in most programs: functions then skip :func:`notify`. An observer stays until nothing else
#: refers to it.
observers: list[ref[Observer]] = []


def add_observer(observer: Observer) -> None:
    """Notify ``observer`` from now on."""
    observers.append(ref(observer, observers.remove))


def notify(weight: Tensor, input: Tensor) -> None:
    """Notify every observer, where a gradient may follow."""
    if is_grad_enabled():
        with no_grad():
            _notify(weight, input)


def notify_recurrent(weight: Tensor, h_0: Tensor, output: Tensor, batch_first: bool) -> None:
    """The same for a recurrent weight, which meets h_0 and every output but the last."""
    if is_grad_enabled() and output.numel() > 0:
        with no_grad():
            _notify(weight, h_0)
            _notify(weight, output[:, :-1] if batch_first else output[:-1])


def _notify(weight: Tensor, input: Tensor) -> None:
    for reference in tuple(observers):
        observer = reference()
        if observer is not None:
            observer.observe(weight, input)
