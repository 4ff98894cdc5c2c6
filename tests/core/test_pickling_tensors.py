"""Tensors and parameters that were pickled or copied are what they were."""

from __future__ import annotations

import copy
import importlib
import pickle
import warnings

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn, optim

from .test_pickling import WAYS


class Named(nn.Parameter):
    """A subclass with slots and attributes of its own."""

    __slots__ = ("__dict__", "kind")


@pytest.mark.parametrize("way", [*WAYS, "copy"])
def test_a_parameter_stays_one(way):
    send = WAYS.get(way, copy.copy)
    param = nn.Parameter(tt.tensor([1.0, 2.0]), requires_grad=False)
    param.learn_name("head.weight")
    again = send(param)
    assert type(again) is nn.Parameter and again.name == "head.weight"
    assert not again.requires_grad and again.tolist() == [1.0, 2.0]
    before = tt.memory_stats()["parameters_bytes"]
    assert before > 0
    named = Named(tt.ones(3))
    named.kind, named.notes = "gain", {"a": [1]}
    again = send(named)
    assert type(again) is Named and again.kind == "gain" and again.notes == {"a": [1]}
    (again * 3).sum().backward()
    assert again.grad.tolist() == [3.0] * 3 and named.grad is None
    assert send(nn.Linear(2, 2)).weight._is_parameter


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_a_tensor_of_any_shape_and_type(shape, way):
    for dtype in (tt.float32, tt.float64, tt.int64, tt.int32, tt.int16, tt.int8, tt.uint8, tt.bool):
        x = tt.ones(*shape, dtype=dtype)
        again = WAYS[way](x)
        assert again.dtype is dtype and again.shape == shape and again.tolist() == x.tolist()
    strided = tt.arange(6).reshape(2, 3).t()
    again = WAYS[way](strided)
    assert again.tolist() == strided.tolist() and again.is_contiguous()


def test_a_pickled_result_is_a_leaf_that_wants_a_gradient():
    x = tt.ones(2, requires_grad=True)
    again = pickle.loads(pickle.dumps(x * 3))
    assert again.is_leaf and again.requires_grad and again.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        copy.deepcopy(x * 3)


def test_gradients_and_hooks_are_left_behind_as_in_pytorch():
    x = tt.ones(2, requires_grad=True)
    p = nn.Parameter(tt.ones(2))
    for leaf in (x, p):
        (leaf * 2).sum().backward()
        leaf.register_hook(lambda gradient: gradient * 100)
    assert copy.deepcopy(x).grad.tolist() == [2.0, 2.0] and copy.deepcopy(p).grad is None
    with pytest.warns(UserWarning, match="hooks of a tensor are not pickled"):
        again = pickle.loads(pickle.dumps(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copies = [again, copy.deepcopy(x), copy.copy(x), copy.deepcopy(p), copy.copy(p)]
        copies.append(pickle.loads(pickle.dumps(p)))
    for other in copies:
        other.grad = None
        (other * 2).sum().backward()
        assert other.grad.tolist() == [2.0, 2.0]


def test_the_arguments_of_an_older_pickle():
    again = tt.tensor(np.array([1.0, 2.0]))
    made = importlib.import_module("tinytape.tensor").rebuild(again.numpy(), True)
    assert made.requires_grad and made.tolist() == [1.0, 2.0]


def test_a_tensor_that_is_not_made_yet_behaves_like_any_other():
    """Whatever is asked of it first."""

    def fresh(requires_grad: bool = True) -> tt.Tensor:
        return pickle.loads(pickle.dumps(tt.tensor([1.0, 2.0], requires_grad=requires_grad)))

    other = tt.ones(2)
    assert (fresh() + 1).tolist() == (1 + fresh()).tolist() == [2.0, 3.0]
    assert (fresh() + fresh()).tolist() == [2.0, 4.0]
    assert (other + fresh()).tolist() == [2.0, 3.0] and (fresh() + other).tolist() == [2.0, 3.0]
    assert fresh().grad is None and fresh().shape == (2,) and fresh().ndim == 1
    assert fresh().dtype is tt.float32 and fresh().is_leaf and fresh().requires_grad
    assert fresh().sum().item() == 3.0 and fresh()[1].item() == 2.0 and len(fresh()) == 2
    assert repr(fresh()) == repr(tt.tensor([1.0, 2.0], requires_grad=True))
    leaf = tt.zeros(2, requires_grad=True)
    leaf.grad = fresh(False)
    assert leaf.grad.tolist() == [1.0, 2.0]
    x = fresh()
    (g,) = tt.grad((x * x).sum(), [x])
    assert g.tolist() == [2.0, 4.0]
    assert tt.cat([fresh(), other]).tolist() == [1.0, 2.0, 1.0, 1.0]
    assert nn.Parameter(fresh()).tolist() == [1.0, 2.0]
    x = fresh()
    x.register_hook(lambda gradient: gradient * 2)
    x.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    optim.SGD([x], lr=0.5).step()
    assert x.tolist() == [0.0, 1.0]
    twice = pickle.loads(pickle.dumps(fresh()))  # handed on without being used
    assert twice.tolist() == [1.0, 2.0] and copy.deepcopy(fresh()).tolist() == [1.0, 2.0]
    before = tt.memory_stats()["live_handles"]
    kept = [fresh() for _ in range(10)]
    assert tt.memory_stats()["live_handles"] == before
    del kept
