"""Muon: momentum whose matrix is made nearly orthogonal before it is applied.

>>> weight = tt.nn.Parameter(tt.eye(2))
>>> optimizer = tt.optim.Muon([weight], lr=0.1, weight_decay=0.0)
>>> weight.grad = tt.eye(2) * 5
>>> optimizer.step()
>>> 0.85 < weight[0, 0].item() < 0.95  # about 1 - lr, whatever the size of the gradient
True
"""

from __future__ import annotations

import math
from typing import Any

from .. import _foreach
from .._ffi import lib
from ..creation import eye, zeros_like
from ..errors import ArgumentError
from ..functional import clamp, matmul, norm
from ..tensor import Tensor
from ._options import check_non_negative, refuse
from .optimizer import Group, Optimizer, Params

_ADJUSTMENTS = (None, "original", "match_rms_adamw")


class Muon(Optimizer):
    """Muon with PyTorch's signature (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

    For a matrix W (rows, columns) with gradient G, in the order of the computation:

        B <- momentum B + (1 - momentum) G
        U = (1 - momentum) G + momentum B   with ``nesterov``, else B
        X = U / max(|U|, eps), with |U| the root of the sum of squares
        ``ns_steps`` times: X <- a X + (b A + c A A) X, with A = X X^T
        W <- W (1 - lr weight_decay) - lr s X

    The iteration (Newton and Schulz) moves all singular values of X close to 1; where there are
    more rows than columns it works on the transpose. s is sqrt(max(1, rows / columns)), or with
    ``adjust_lr_fn="match_rms_adamw"`` 0.2 sqrt(max(rows, columns)), which gives updates the size
    of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training"). PyTorch iterates in
    bfloat16; here it is done in the type of the parameter.

    Muon is for the matrices of hidden layers: leave embeddings, the output head, biases and gains
    to another optimiser. Its authors use ``lr=0.02``. A weight that is several matrices one above
    the other, such as an LSTM's (4H, I), one for each gate, may be given in a group with
    ``row_blocks=4``: each of them is then made orthogonal, and scaled, by itself.

    Args:
        params: see :class:`Optimizer`; matrices only.
        lr: learning rate.
        weight_decay: decoupled weight decay.
        momentum: decay of the buffer, in [0, 1).
        nesterov: look ahead along the buffer.
        ns_coefficients: a, b and c.
        eps: least norm that is divided by.
        ns_steps: how often the iteration is done.
        adjust_lr_fn: None or "original"; or "match_rms_adamw".
        row_blocks: into how many matrices of equally many rows a parameter is cut.

    Raises:
        ValueError: a parameter that is no matrix or that cannot be cut so, by name; an option
            outside its range.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        row_blocks: int = 1,
        **unsupported: Any,
    ) -> None:
        refuse(self._who, unsupported)
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": tuple(ns_coefficients),
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
            "row_blocks": row_blocks,
        }
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        check_non_negative(self._who, group, "lr", "weight_decay", "eps")
        if not 0.0 <= group["momentum"] < 1.0:  # from 1 on the buffer gets none of the gradient
            raise ArgumentError(
                f"{self._who}: expected momentum in [0, 1), got {group['momentum']}"
            )
        steps, blocks = group["ns_steps"], group["row_blocks"]
        if len(group["ns_coefficients"]) != 3:
            raise ArgumentError(
                f"{self._who}: expected ns_coefficients of three numbers, "
                f"got {group['ns_coefficients']}"
            )
        if not isinstance(steps, int) or not 0 <= steps < 100:
            raise ArgumentError(f"{self._who}: expected ns_steps from 0 to 99, got {steps!r}")
        if group["adjust_lr_fn"] not in _ADJUSTMENTS:
            raise ArgumentError(
                f"{self._who}: expected adjust_lr_fn to be one of "
                f"{', '.join(map(repr, _ADJUSTMENTS))}, got {group['adjust_lr_fn']!r}"
            )
        if not isinstance(blocks, int) or blocks < 1:
            raise ArgumentError(f"{self._who}: expected row_blocks >= 1, got {blocks!r}")
        for name, param in zip(group["param_names"], group["params"], strict=True):
            if param.ndim != 2:
                raise ArgumentError(
                    f"{self._who}: expected parameters of 2 dimensions, got {name!r} of shape "
                    f"{param.shape}; give it to another optimiser"
                )
            if param.shape[0] % blocks != 0:
                raise ArgumentError(
                    f"{self._who}: {name!r} of shape {param.shape} cannot be cut into "
                    f"row_blocks={blocks} matrices of equally many rows"
                )

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        return {"momentum_buffer": zeros_like(param, _pool=lib.TT_POOL_STATE)}

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        for param, grad in zip(params, grads, strict=True):
            buffer = self.state[param]["momentum_buffer"]
            _foreach.lerp_(buffer, grad, 1.0 - momentum)
            update = grad + (buffer - grad) * momentum if group["nesterov"] else buffer
            rows, columns = param.shape[0] // group["row_blocks"], param.shape[1]
            blocks = update.reshape(group["row_blocks"], rows, columns)
            blocks = _orthogonal(blocks, group["ns_coefficients"], group["ns_steps"], group["eps"])
            _foreach.scale_([param], 1.0 - lr * group["weight_decay"])
            size = _size(group["adjust_lr_fn"], rows, columns)
            _foreach.add_(param, blocks.reshape(param.shape), -lr * size)


def _size(adjust_lr_fn: str | None, rows: int, columns: int) -> float:
    """The factor of the update of a matrix of this shape."""
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns)) if columns else 1.0


def _orthogonal(
    blocks: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Each matrix of (k, rows, columns) with its singular values moved close to 1."""
    a, b, c = coefficients
    tall = blocks.shape[1] > blocks.shape[2]
    x = blocks / clamp(norm(blocks, 2, (1, 2), keepdim=True), min=eps)
    identity = eye(min(blocks.shape[1:]), dtype=blocks.dtype) * a
    for _ in range(steps):
        # One square factor, (a I + b A + c A A): on the smaller side, and symmetric.
        turned = x.transpose(1, 2)
        square = matmul(turned, x) if tall else matmul(x, turned)
        factor = identity + square * b + matmul(square, square) * c
        x = matmul(x, factor) if tall else matmul(factor, x)
    return x
