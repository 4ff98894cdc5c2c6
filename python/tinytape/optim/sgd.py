"""Stochastic gradient descent with momentum (Sutskever et al. 2013, in PyTorch's form).

>>> weight = tt.nn.Parameter(tt.tensor([1.0]))
>>> optimizer = tt.optim.SGD([weight], lr=0.5, momentum=0.5)
>>> for _ in range(2):
...     weight.grad = tt.ones(1)
...     optimizer.step()
>>> weight.tolist()  # 1 - 0.5 * 1 - 0.5 * (0.5 * 1 + 1)
[-0.25]
"""

from __future__ import annotations

from typing import Any

from .. import _foreach
from .._ffi import lib
from ..creation import zeros_like
from ..errors import ArgumentError
from ..tensor import Tensor
from ._options import check_non_negative, refuse
from .optimizer import Group, Optimizer, Params


class SGD(Optimizer):
    """SGD with PyTorch's signature.

    As ``torch.optim.SGD``. With momentum, the buffer is the gradient at a parameter's first update
    and ``momentum * buffer + (1 - dampening) * grad`` at later ones; it exists from the start.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate.
        momentum: decay of the buffer; 0 keeps none.
        dampening: the fraction of the gradient that the buffer does not take.
        weight_decay: L2 coefficient, added to the gradient.
        nesterov: look ahead along the buffer; needs momentum and no dampening.
        maximize: go up instead of down.

    Raises:
        ValueError: an option outside its range.
        TypeError: an option that is not supported, by name.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **unsupported: Any,
    ) -> None:
        refuse(self._who, unsupported)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_non_negative(self._who, group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ArgumentError(
                f"{self._who}: nesterov needs momentum > 0 and dampening 0, "
                f"got momentum {group['momentum']} and dampening {group['dampening']}"
            )

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        if group["momentum"] == 0:
            return {}
        return {"step": 0, "momentum_buffer": zeros_like(param, _pool=lib.TT_POOL_STATE)}

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        momentum = group["momentum"]
        buckets: dict[Any, list[tuple[Tensor, Tensor]]] = {}
        for param, grad in zip(params, grads, strict=True):
            state = self.state[param]
            if (
                momentum != 0 and "momentum_buffer" not in state
            ):  # momentum was switched on after the start
                state.update(self._new_state(group, param))
            first = momentum != 0 and state["step"] == 0
            buckets.setdefault((param.dtype, first), []).append((param, grad))
        for (_, first), pairs in buckets.items():
            states = [self.state[param] for param, _ in pairs]
            _foreach.sgd_(
                [param for param, _ in pairs],
                [grad for _, grad in pairs],
                [state["momentum_buffer"] for state in states] if momentum != 0 else None,
                lr=group["lr"],
                momentum=momentum,
                dampening=group["dampening"],
                weight_decay=group["weight_decay"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                first=first,
            )
            if momentum != 0:
                for state in states:
                    state["step"] += 1
