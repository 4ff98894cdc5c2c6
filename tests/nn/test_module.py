"""Module: registration, names, state dicts, modes. Values are exact, so comparisons are too."""

from __future__ import annotations

import copy
from collections import OrderedDict

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn


class Scale(nn.Module):
    """One parameter, one persistent and one other buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(tt.tensor([1.0, 2.0]))
        self.register_buffer("count", tt.tensor([5], dtype=tt.int64))
        self.register_buffer("cache", tt.zeros(3), persistent=False)

    def forward(self, x):
        return x * self.factor


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(Scale(), nn.LayerNorm(2)))


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


NAMES = ["0.weight", "0.bias", "1.0.factor", "1.1.weight", "1.1.bias"]


def test_parameter_is_a_leaf_that_wants_a_gradient():
    data = tt.tensor([1.0, 2.0])
    param = nn.Parameter(data)
    assert isinstance(param, tt.Tensor)
    assert param.is_leaf and param.requires_grad
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    (param * param).sum().backward()
    assert param.grad.tolist() == [2.0, 4.0]
    assert "Parameter" in repr(param)


def test_names_in_order_and_by_prefix():
    model = net()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [name for name, _ in model.named_parameters(prefix="m")] == [f"m.{n}" for n in NAMES]
    assert list(model.named_parameters(recurse=False)) == []
    assert [id(p) for p in model.parameters()] == [id(p) for _, p in model.named_parameters()]
    assert [name for name, _ in model.named_buffers()] == ["1.0.count", "1.0.cache"]
    assert len(list(model.buffers())) == 2
    assert [name for name, _ in model.named_modules()] == ["", "0", "1", "1.0", "1.1"]
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert len(list(model.modules())) == 5 and len(list(model.children())) == 2


def test_parameters_learn_the_fullest_name_they_are_met_under():
    model = net()
    inner = model[1][1]
    assert inner.weight.name is None
    list(inner.parameters())
    assert inner.weight.name == "weight"
    list(model.parameters())
    assert inner.weight.name == "1.1.weight"
    list(inner.parameters())
    assert inner.weight.name == "1.1.weight"


def test_shared_parameter_is_one_parameter_with_two_names():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]
    both = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert both == ["0.weight", "1.weight"]
    assert list(model.state_dict()) == ["0.weight", "1.weight"]


def test_attributes_register_and_unregister():
    module = Scale()
    assert module.factor is module._parameters["factor"]
    with pytest.raises(TypeError, match="cannot assign Tensor to 'factor'"):
        module.factor = tt.zeros(2)
    module.factor = None
    assert list(module.parameters()) == [] and module.factor is None
    module.factor = nn.Linear(1, 1)  # a name means one thing
    assert "factor" not in module._parameters and len(list(module.parameters())) == 2
    del module.factor
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'factor'"):
        _ = module.factor
    module.count = tt.tensor([6], dtype=tt.int64)
    assert module.state_dict()["count"].tolist() == [6]
    module.plain = 3
    assert module.plain == 3 and "plain" not in dir(nn.Module())
    with pytest.raises(KeyError, match="already exists"):
        module.register_buffer("plain", tt.zeros(1))
    with pytest.raises(KeyError, match="dots"):
        module.register_module("a.b", Scale())
    with pytest.raises(TypeError, match="register_parameter: expected a Parameter"):
        module.register_parameter("p", tt.zeros(1))

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(tt.zeros(1))

    with pytest.raises(AttributeError, match=r"call super\(\).__init__\(\) before"):
        Forgetful()


def test_state_dict_shares_memory_and_round_trips():
    model = net()
    state = model.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == [
        "0.weight",
        "0.bias",
        "1.0.factor",
        "1.0.count",
        "1.1.weight",
        "1.1.bias",
    ]
    assert not any(value.requires_grad for value in state.values())
    with tt.no_grad():
        model[1][0].factor.fill_(7.0)
    assert state["1.0.factor"].tolist() == [7.0, 7.0]
    assert model.state_dict(keep_vars=True)["0.weight"] is model[0].weight

    for as_arrays in (False, True):
        other = net()
        kept = other[0].weight
        result = other.load_state_dict(arrays(model) if as_arrays else model.state_dict())
        assert repr(result) == "<All keys matched successfully>"
        assert other[0].weight is kept and kept.requires_grad
        for name, value in arrays(other).items():
            assert np.array_equal(value, arrays(model)[name]), name


def test_loading_converts_floats_and_nothing_else():
    model = nn.Linear(2, 1)
    wide = {"weight": np.array([[0.1, 0.2]]), "bias": np.array([0.3])}
    model.load_state_dict(wide)
    assert model.weight.dtype == tt.float32
    assert np.array_equal(model.weight.numpy(), wide["weight"].astype(np.float32))
    before = arrays(model)
    with pytest.raises(nn.StateDictError, match=r"dtype mismatch for bias: .*int64"):
        model.load_state_dict({"weight": np.ones((1, 2)), "bias": np.array([1])})
    assert all(np.array_equal(arrays(model)[name], before[name]) for name in before)


def test_a_load_that_does_not_fit_names_everything_and_changes_nothing():
    model = net()
    before = arrays(model)
    wrong = {name: value + 1 for name, value in before.items()}
    del wrong["0.weight"]
    wrong["2.weight"] = np.zeros(1)
    wrong["0.bias"] = np.zeros((4,), dtype=np.float32)
    wrong["1.1.bias"] = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(nn.StateDictError) as caught:
        model.load_state_dict(wrong)
    text = str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert "Error(s) in loading state_dict for Sequential" in text
    assert 'Missing key(s) in state_dict: "0.weight"' in text
    assert 'Unexpected key(s) in state_dict: "2.weight"' in text
    assert "size mismatch for 0.bias" in text and "(4,)" in text and "(3,)" in text
    assert "size mismatch for 1.1.bias" in text
    assert all(np.array_equal(arrays(model)[name], before[name]) for name in before)
    with pytest.raises(TypeError, match="expected a dict of tensors, got list"):
        model.load_state_dict([])

    # Not strict: names may differ, shapes may not.
    with pytest.raises(nn.StateDictError, match="size mismatch"):
        model.load_state_dict(wrong, strict=False)
    del wrong["0.bias"], wrong["1.1.bias"]
    missing, unexpected = model.load_state_dict(wrong, strict=False)
    assert missing == ["0.weight", "0.bias", "1.1.bias"] and unexpected == ["2.weight"]
    assert np.array_equal(arrays(model)["1.0.factor"], before["1.0.factor"] + 1)
    assert np.array_equal(arrays(model)["0.weight"], before["0.weight"])


def test_train_eval_reaches_every_module():
    model = net()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="expected mode"):
        model.train("yes")


def test_zero_grad_and_requires_grad():
    model = nn.Linear(2, 1)
    x = tt.ones(1, 2)
    model(x).sum().backward()
    assert model.weight.grad.tolist() == [[1.0, 1.0]]
    model.zero_grad(set_to_none=False)
    assert model.weight.grad.tolist() == [[0.0, 0.0]]
    model.zero_grad()
    assert model.weight.grad is None and model.bias.grad is None
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())
    assert not model(x).requires_grad


def test_double_and_float_keep_identity_and_values():
    model = net()
    before = arrays(model)
    weight = model[0].weight
    assert model.double() is model
    assert model[0].weight is weight and weight.dtype == tt.float64 and weight.requires_grad
    assert model[1][0].count.dtype == tt.int64
    assert model[1][0].cache.dtype == tt.float64
    assert all(np.array_equal(arrays(model)[name], before[name]) for name in before)
    x = tt.tensor(np.ones((1, 2)), dtype=tt.float64)
    model[0](x).sum().backward()
    assert weight.grad.dtype == tt.float64 and weight.grad.tolist() == [[1.0, 1.0]] * 3
    model.zero_grad()
    model.float()
    assert weight.dtype == tt.float32 and arrays(model)["1.0.count"].dtype == np.int64
    assert all(np.array_equal(arrays(model)[name], before[name]) for name in before)
    model[0](tt.ones(1, 2)).sum().backward()
    assert weight.grad.dtype == tt.float32


def test_deepcopy_is_a_model_of_its_own():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Dropout(0.5))
    list(model.parameters())
    twin = copy.deepcopy(model)
    before = arrays(model)
    assert [p.name for p in twin.parameters()] == [p.name for p in model.parameters()]
    assert all(np.array_equal(arrays(twin)[name], before[name]) for name in before)
    twin[0].weight.fill_(9.0)
    assert np.array_equal(model[0].weight.numpy(), before["0.weight"])
    assert twin[0].weight.requires_grad and twin[0].weight.is_leaf


def test_apply_visits_children_first():
    seen = []
    model = net()
    assert model.apply(lambda module: seen.append(type(module).__name__)) is model
    assert seen == ["Linear", "Scale", "LayerNorm", "Sequential", "Sequential"]


def test_repr_is_like_pytorch():
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.GELU(), nn.Dropout(0.1)))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): GELU(approximate='none')\n"
        "    (1): Dropout(p=0.1)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.LayerNorm(4)) == "LayerNorm((4,), eps=1e-05, elementwise_affine=True)"
    assert repr(nn.Embedding(5, 2)) == "Embedding(5, 2)"
    assert repr(nn.Tanh()) == "Tanh()"


def test_containers():
    layers = [nn.Linear(1, 1) for _ in range(3)]
    for box in (nn.ModuleList(layers), nn.Sequential(*layers)):
        assert len(box) == 3 and list(box) == layers
        assert box[0] is layers[0] and box[-1] is layers[2]
        assert list(box[1:]) == layers[1:] and type(box[1:]) is type(box)
        with pytest.raises(IndexError, match="index 3 for 3 modules"):
            _ = box[3]
        new = nn.Linear(1, 1)
        box[1] = new
        assert list(box) == [layers[0], new, layers[2]]
        box.insert(1, layers[1])
        assert list(box) == [layers[0], layers[1], new, layers[2]]
        assert [name for name, _ in box.named_children()] == ["0", "1", "2", "3"]
        assert box.append(new) is box and box.extend([layers[0]]) is box and len(box) == 6
    named = nn.Sequential(OrderedDict(first=nn.Linear(1, 2), second=nn.Linear(2, 1)))
    assert next(name for name, _ in named.named_parameters()) == "first.weight"
    assert named.second is named[1]
    with pytest.raises(NotImplementedError, match="ModuleList: forward"):
        nn.ModuleList()(1)
