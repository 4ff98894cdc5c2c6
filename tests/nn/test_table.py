"""The tables of a Module: every way to change one shows in its attributes and in parameters()."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

import tinytape as tt
from tinytape import nn


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def test_an_entry_is_an_ordinary_attribute():
    layer = nn.Linear(2, 3)
    assert vars(layer)["weight"] is layer._parameters["weight"] is layer.weight
    assert sorted(dir(layer)).count("weight") == 1


def replace(table, other):
    table["bias"] = other


def merge(table, other):
    table |= {"bias": other}


@pytest.mark.parametrize("change", [replace, merge, lambda table, other: table.update(bias=other)])
def test_an_entry_is_replaced_through_the_table(change):
    layer, other = nn.Linear(2, 3), nn.Parameter(tt.ones(3))
    model = nn.Sequential(layer)
    assert [p for _, p in model.named_parameters()][1] is not other
    change(layer._parameters, other)
    assert layer.bias is other
    assert [p for _, p in model.named_parameters()][1] is other


@pytest.mark.parametrize(
    "remove",
    [
        lambda layer: layer._parameters.pop("bias"),
        lambda layer: layer._parameters.popitem(),
        lambda layer: layer._parameters.__delitem__("bias"),
        lambda layer: delattr(layer, "bias"),
    ],
)
def test_an_entry_goes_through_the_table(remove):
    layer = nn.Linear(2, 3)
    model = nn.Sequential(layer)
    assert names(model) == ["0.weight", "0.bias"]
    remove(layer)
    assert names(model) == ["0.weight"]
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'bias'"):
        _ = layer.bias
    layer.bias = 3  # a plain attribute now
    assert layer.bias == 3 and names(model) == ["0.weight"]


def test_clear_pop_and_setdefault_are_those_of_a_dict():
    layer, other = nn.Linear(2, 3), nn.Parameter(tt.ones(3))
    assert layer._parameters.pop("nothing", 5) == 5
    with pytest.raises(KeyError):
        layer._parameters.pop("nothing")
    assert layer._parameters.setdefault("bias", other) is layer.bias is not other
    assert layer._parameters.setdefault("more", other) is layer.more is other
    layer._parameters.clear()
    assert names(layer) == [] and not hasattr(layer, "weight")


def test_a_whole_table_is_replaced():
    layer, other = nn.Linear(2, 3), nn.Parameter(tt.ones(3))
    layer._parameters = {"scale": other}
    assert layer.scale is other and names(layer) == ["scale"]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_a_copy_has_tables_of_its_own(copied):
    layer = nn.Linear(2, 3)
    again = copied(layer)
    assert again.weight.tolist() == layer.weight.tolist()
    assert again.weight is again._parameters["weight"]
    before = layer.weight
    again.weight = nn.Parameter(tt.zeros(3, 2))
    again._parameters["bias"] = nn.Parameter(tt.ones(3))
    assert again.weight.tolist() == [[0.0, 0.0]] * 3 and again.bias.tolist() == [1.0] * 3
    assert layer.weight is before and layer._parameters["weight"] is before
    assert next(again.parameters()) is again.weight


def test_a_module_ends_without_the_collector():
    model = nn.Sequential(nn.Linear(2, 3))
    list(model.parameters())
    watched = [weakref.ref(model), weakref.ref(model[0]), weakref.ref(model[0].weight)]
    gc.disable()
    try:
        del model
        assert [w() for w in watched] == [None, None, None]
    finally:
        gc.enable()


def test_buffers_and_modules_are_attributes_too():
    layer = nn.Linear(2, 3)
    layer.register_buffer("seen", tt.zeros(1))
    layer.seen = tt.ones(1)
    assert layer.seen is layer._buffers["seen"] and layer.seen.tolist() == [1.0]
    layer.inner = nn.Linear(3, 3)
    assert layer.inner is layer._modules["inner"]
    layer.inner = None
    assert layer.inner is None and names(layer) == ["weight", "bias"]
    layer.double()
    assert layer.seen.dtype is tt.float64
