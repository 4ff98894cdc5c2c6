"""Every public function and method, called with what users get wrong: only expected exceptions.

A function may answer or raise ValueError, TypeError, IndexError, RuntimeError or MemoryError, as
PyTorch does. An AttributeError, OverflowError or the like is an argument that nobody looked at.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import functional
from tinytape._ffi import lib
from tinytape.nn import functional as nn_functional

EXPECTED = (ValueError, TypeError, IndexError, RuntimeError, MemoryError)
ROUNDS = 120
CREATION = ["tensor", "zeros", "ones", "full", "zeros_like", "ones_like", "arange", "rand", "randn"]
CREATION += ["as_tensor", "from_numpy", "empty", "empty_like", "full_like", "eye", "linspace"]
CREATION += ["rand_like", "randn_like", "randint", "randperm"]
METHODS = [
    name
    for name in dir(tt.Tensor)
    if not name.startswith("_") and callable(getattr(tt.Tensor, name)) and name not in ("backward",)
]
METHODS += [
    "__getitem__",
    "__add__",
    "__rsub__",
    "__matmul__",
    "__setitem__",
    "__iadd__",
    "__len__",
]


def tensors() -> list[tt.Tensor]:
    """Of every kind, a freed graph among them."""
    x = tt.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], requires_grad=True)
    freed = x * 2
    freed.sum().backward()
    made = [x, freed, x * 3, x.transpose(0, 1), tt.tensor(1.5), tt.tensor([1, 0]), tt.tensor(2)]
    made += [tt.tensor([[True, False, True], [False, True, True]]), tt.zeros(0, 3), tt.zeros(2, 0)]
    made += [tt.ones(3, dtype=tt.float64), tt.tensor([float("nan"), float("inf")]), tt.ones(1, 1)]
    made += [tt.tensor(np.array([200, 7], np.uint8)), tt.ones(2, 3, 4), tt.ones(1, 2, 1, 2, 1)]
    made += [tt.tensor([[0, 2, 1]]), tt.ones(*[1] * 8)]
    return made


def others() -> list[Any]:
    numbers = [0, 1, 2, -1, -2, 3, 9, 2**31, -(2**63), 2**63, 2**70, True, 0.5, -1.5, 1e300]
    numbers += [float("nan"), float("inf")]
    arrays = [np.ones(3), np.ones((2, 3), ">f4"), np.arange(6).reshape(2, 3)[:, ::2], np.int8(1)]
    arrays += [np.array(["a"]), np.array([None]), np.ones(2, complex), np.ones(0)]
    shapes = [(), (0,), (0, 1), (1, 0), (-1,), (2, 3), (3, 2), [1], [0, -1], (2**31, 2), (0, 0)]
    rest = [None, "none", "mean", "tanh", "ij,jk->ik", "", object(), tt.float64, tt.int64, tt.bool]
    rest += [
        slice(None),
        Ellipsis,
        [],
        [0.5],
        ["a"],
        {},
        {"a": 1},
        lambda: 1,
        (1.5,),
        (None,),
        b"x",
    ]
    return [*numbers, *arrays, *shapes, *rest, tt.Generator()]


def call_with_anything(name: str, function: Callable[..., Any], first_is_tensor: bool) -> None:
    rng = random.Random(name)
    given, odd = tensors(), others()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    most = len(parameters) if parameters else 3
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        most += 2
    required = sum(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )
    for _ in range(ROUNDS):
        count = rng.randint(min(required, most), min(most, required + 2))
        args = [rng.choice(given if rng.random() < 0.5 else odd) for _ in range(count)]
        if args and (first_is_tensor or rng.random() < 0.8):
            args[0] = rng.choice(given)
        if len(args) > 1 and not first_is_tensor and rng.random() < 0.1:
            args[0] = list(args[:2])
        try:
            function(*args)
        except EXPECTED as error:
            assert not isinstance(error, (UnicodeError, NotImplementedError)), (name, args, error)
            assert str(error), (name, args, type(error))
        except Exception as error:
            shown = [x.shape if isinstance(x, tt.Tensor) else x for x in args]
            pytest.fail(f"{name}({shown}): {type(error).__name__}: {error}")


@pytest.fixture(autouse=True)
def bounded_memory():
    lib.tt_set_memory_limit(1 << 28)
    yield
    lib.tt_set_memory_limit(0)
    x = tt.ones(2, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", sorted(functional.__all__))
def test_functions_of_tensors(name):
    call_with_anything(name, getattr(functional, name), first_is_tensor=False)


@pytest.mark.parametrize("name", sorted(nn_functional.__all__))
def test_functions_of_layers(name):
    call_with_anything(f"nn.{name}", getattr(nn_functional, name), first_is_tensor=False)


@pytest.mark.parametrize("name", CREATION)
def test_functions_that_make_tensors(name):
    call_with_anything(f"make {name}", getattr(tt, name), first_is_tensor=False)


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    call_with_anything(f"method {name}", getattr(tt.Tensor, name), first_is_tensor=True)
