"""Leaves for the tests of gradients."""

from __future__ import annotations

import numpy as np

import tinytape as tt

RNG = np.random.default_rng(0)


def leaf(*shape: int, dtype: tt.dtype = tt.float64) -> tt.Tensor:
    return tt.tensor(RNG.standard_normal(shape), dtype=dtype, requires_grad=True)


def scalar(value: float) -> tt.Tensor:
    return tt.tensor(value, dtype=tt.float64, requires_grad=True)


def close(x: tt.Tensor | None, expected) -> None:
    assert x is not None
    np.testing.assert_allclose(x.numpy(), np.asarray(expected), rtol=1e-12, atol=1e-13)
