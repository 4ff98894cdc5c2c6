"""Momentum that forgets along the gradients that it was given.

>>> weight = tt.nn.Parameter(tt.zeros(1, 2))
>>> optimizer = tt.optim.DeltaMomentum([weight], lr=0.5)
>>> weight.grad = tt.tensor([[1.0, 0.0]])
>>> optimizer.step()
>>> weight.tolist()
[[-0.5, 0.0]]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _foreach
from .._ffi import lib
from ..creation import zeros_like
from ..errors import DTypeError, ShapeError
from ..functional import matmul
from ..tensor import Tensor
from ._options import check_non_negative
from .optimizer import Group, Optimizer, Params


class DeltaMomentum(Optimizer):
    """m <- m (momentum I - erase_rate G^T G) - lr P G, and W <- W + m.

    Equations 21 and 22 of "Nested Learning" (Behrouz et al., NeurIPS 2025, camera-ready), where
    momentum is a memory of gradients trained on |m G^T - P|^2 instead of on the inner product
    <m G^T, P> (equations 19 and 20), which gives ordinary momentum. For W, G and m (out, in):
    G^T G is (in, in), P (out, out), and the derivative of the objective m G^T G - P G; so G^T G
    stands on the right of m, though the paper, which keeps the gradient the other way round,
    prints it on the left. The sign of P is the paper's: the step goes down.

    As printed, the erased term has no rate: ``erase_rate=1``. Gradient descent on the objective
    would give it the rate of the other term: ``erase_rate=lr``. The buffer is stable where
    ``erase_rate`` times the square of G's largest singular value is at most 1 + ``momentum``:
    clip gradients. As ``lr`` is part of m, a schedule acts on the gradients that come after it.

    Parameters that are no matrices have m <- momentum m - lr P g.

    Args:
        params: see :class:`Optimizer`.
        lr: learning rate.
        momentum: alpha of the paper.
        erase_rate: of the erased term.
        precondition: gives P G, of G's shape, from a parameter and its gradient G; P = I unless
            told. It is not part of the state.

    Raises:
        TypeError: ``precondition`` is no function; or from ``step()``, when it returns no Tensor,
            or one of another dtype. Nothing of the group has changed then.
        ValueError: an option outside its range; or from ``step()``, likewise, when
            ``precondition`` returns another shape.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.9,
        erase_rate: float = 1.0,
        *,
        precondition: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        if precondition is not None and not callable(precondition):
            raise TypeError(
                f"{self._who}: expected precondition to be a function of a parameter and its "
                f"gradient, got {type(precondition).__name__}"
            )
        self.precondition = precondition
        super().__init__(params, {"lr": lr, "momentum": momentum, "erase_rate": erase_rate})

    def _check_group(self, group: Group) -> None:
        check_non_negative(self._who, group, "lr", "momentum", "erase_rate")

    def _new_state(self, group: Group, param: Tensor) -> dict[str, Any]:
        return {"momentum_buffer": zeros_like(param, _pool=lib.TT_POOL_STATE)}

    def _update_group(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        pushes = [self._push(param, grad) for param, grad in zip(params, grads, strict=True)]
        for param, grad, push in zip(params, grads, pushes, strict=True):
            buffer = self.state[param]["momentum_buffer"]
            erased = _along_gradient(buffer, grad) if param.ndim == 2 else None
            _foreach.scale_([buffer], group["momentum"])
            if erased is not None:
                _foreach.add_(buffer, erased, -group["erase_rate"])
            _foreach.add_(buffer, push, -group["lr"])
            _foreach.add_(param, buffer)

    def _push(self, param: Tensor, grad: Tensor) -> Tensor:
        """P G."""
        if self.precondition is None:
            return grad
        push: Any = self.precondition(param, grad)
        if not isinstance(push, Tensor):
            raise TypeError(
                f"{self._who}: expected precondition to return a Tensor of the gradient's shape "
                f"{grad.shape}, got {type(push).__name__}"
            )
        if push.shape != grad.shape:
            raise ShapeError(
                f"{self._who}: expected precondition to return the gradient's shape {grad.shape}, "
                f"got {push.shape}"
            )
        if push.dtype != grad.dtype:
            raise DTypeError(
                f"{self._who}: expected precondition to return the gradient's dtype {grad.dtype}, "
                f"got {push.dtype}"
            )
        return push.contiguous()


def _along_gradient(buffer: Tensor, grad: Tensor) -> Tensor:
    """m G^T G, through the smaller of its two square products."""
    rows, columns = grad.shape
    if rows <= columns:
        return matmul(matmul(buffer, grad.t()), grad)
    return matmul(buffer, matmul(grad.t(), grad))
