"""Adam (Kingma and Ba 2015, algorithm 1), one fused kernel call per group.

>>> weight = tt.nn.Parameter(tt.tensor([1.0]))
>>> optimizer = tt.optim.Adam([weight], lr=0.25)
>>> weight.sum().backward()
>>> optimizer.step()
>>> round(weight.item(), 4)
0.75
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


class Adam(Optimizer):
    """Adam with PyTorch's signature; ``weight_decay`` is added to the gradient (L2).

    As ``torch.optim.Adam`` (Kingma and Ba 2015, algorithm 1), without ``amsgrad``. The moments
    ``exp_avg``, ``exp_avg_sq`` and the count ``step`` of every parameter exist from the start. A
    parameter without gradient is skipped and its ``step`` stays.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: L2 coefficient.
        amsgrad: not supported; True raises.
        maximize: go up instead of down.
        decoupled_weight_decay: decay as in :class:`AdamW`.

    Raises:
        ValueError: an option outside its range.
        TypeError: an option that is not supported, by name.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **unsupported: Any,
    ) -> None:
        if amsgrad:
            unsupported["amsgrad"] = amsgrad
        refuse(self._who, unsupported)
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_non_negative(self._who, group, "lr", "eps", "weight_decay")
        betas = group["betas"]
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ArgumentError(
                f"{self._who}: expected betas of two numbers in [0, 1), got {betas}"
            )

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        return {
            "step": 0,
            "exp_avg": zeros_like(param, _pool=lib.TT_POOL_STATE),
            "exp_avg_sq": zeros_like(param, _pool=lib.TT_POOL_STATE),
        }

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        # One kernel call serves parameters of one dtype and one step; nearly always that is all.
        buckets: dict[Any, list[tuple[Tensor, Tensor, dict[str, Any]]]] = {}
        for param, grad in zip(params, grads, strict=True):
            state = self.state[param]
            buckets.setdefault((param.dtype, state["step"]), []).append((param, grad, state))
        beta1, beta2 = group["betas"]
        for (_, done), bucket in buckets.items():
            states = [state for _, _, state in bucket]
            _foreach.adam_(
                [param for param, _, _ in bucket],
                [grad for _, grad, _ in bucket],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                step=done + 1,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=group["decoupled_weight_decay"],
                maximize=group["maximize"],
            )
            for state in states:
                state["step"] = done + 1
