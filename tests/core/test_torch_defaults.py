"""What PyTorch passes by default is accepted, whatever it is called with; anything else is refused.

The table is PyTorch 2's: the parameters with defaults of each class and function that is here too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import tinytape as tt
from tinytape import nn, optim
from tinytape.nn import functional as F
from tinytape.optim import lr_scheduler

X = tt.ones(2, 3)
IDS = tt.tensor([0, 1])
MAKER = {"dtype": None, "layout": None, "device": None, "pin_memory": False, "requires_grad": False}
PLACE = {"device": None, "dtype": None}
LOSS = {"size_average": None, "reduce": None, "reduction": "mean"}
TABLE_OF = {
    "padding_idx": None,
    "max_norm": None,
    "norm_type": 2.0,
    "scale_grad_by_freq": False,
    "sparse": False,
}
UPDATE = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}
ADAM = {**UPDATE, "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
ADAM["capturable"] = False


def params() -> list[nn.Parameter]:
    return [nn.Parameter(tt.ones(2, 2))]


def sgd() -> optim.Optimizer:
    return optim.SGD(params(), lr=0.1)


def loss() -> tt.Tensor:
    return (tt.ones(2, requires_grad=True) * 2).sum()


Entry = tuple[Callable[..., Any], dict[str, Any]]
DEFAULTS: dict[str, Entry] = {
    # layers
    "nn.Linear": (lambda **o: nn.Linear(2, 3, **o), {"bias": True, **PLACE}),
    "nn.Embedding": (lambda **o: nn.Embedding(5, 3, **o), {**TABLE_OF, **PLACE}),
    "nn.LSTM": (
        lambda **o: nn.LSTM(2, 3, **o),
        {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        | {"bidirectional": False, "proj_size": 0, **PLACE},
    ),
    "nn.LSTMCell": (lambda **o: nn.LSTMCell(2, 3, **o), {"bias": True, **PLACE}),
    "nn.LayerNorm": (
        lambda **o: nn.LayerNorm(3, **o),
        {"eps": 1e-5, "elementwise_affine": True, "bias": True, **PLACE},
    ),
    "nn.RMSNorm": (
        lambda **o: nn.RMSNorm(3, **o),
        {"eps": None, "elementwise_affine": True, **PLACE},
    ),
    "nn.Dropout": (nn.Dropout, {"p": 0.5, "inplace": False}),
    "nn.ReLU": (nn.ReLU, {"inplace": False}),
    "nn.SiLU": (nn.SiLU, {"inplace": False}),
    "nn.GELU": (nn.GELU, {"approximate": "none"}),
    "nn.Softplus": (nn.Softplus, {"beta": 1.0, "threshold": 20.0}),
    "nn.CrossEntropyLoss": (
        nn.CrossEntropyLoss,
        {"weight": None, "ignore_index": -100, "label_smoothing": 0.0, **LOSS},
    ),
    "nn.NLLLoss": (nn.NLLLoss, {"weight": None, "ignore_index": -100, **LOSS}),
    "nn.MSELoss": (nn.MSELoss, LOSS),
    "nn.BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, {"weight": None, "pos_weight": None, **LOSS}),
    "nn.ModuleList": (nn.ModuleList, {"modules": None}),
    "nn.Parameter": (lambda **o: nn.Parameter(X, **o), {"requires_grad": True}),
    # modules
    "Module.state_dict": (
        nn.Linear(2, 3).state_dict,
        {"destination": None, "prefix": "", "keep_vars": False},
    ),
    "Module.load_state_dict": (
        lambda **o: nn.ReLU().load_state_dict({}, **o),
        {"strict": True, "assign": False},
    ),
    "Module.modules": (nn.Linear(2, 3).modules, {"remove_duplicate": True}),
    "Module.named_modules": (
        nn.Linear(2, 3).named_modules,
        {"memo": None, "prefix": "", "remove_duplicate": True},
    ),
    "Module.zero_grad": (nn.Linear(2, 3).zero_grad, {"set_to_none": True}),
    "Module.to": (
        nn.Linear(2, 3).to,
        {"device": None, "dtype": None, "non_blocking": False},
    ),
    # functions of layers
    "F.embedding": (lambda **o: F.embedding(IDS, X, **o), TABLE_OF),
    "F.relu": (lambda **o: F.relu(X, **o), {"inplace": False}),
    "F.silu": (lambda **o: F.silu(X, **o), {"inplace": False}),
    "F.gelu": (lambda **o: F.gelu(X, **o), {"approximate": "none"}),
    "F.dropout": (
        lambda **o: F.dropout(X, **o),
        {"p": 0.5, "training": True, "inplace": False},
    ),
    "F.softmax": (lambda **o: F.softmax(X, dim=1, **o), {"dtype": None}),
    "F.linear": (lambda **o: F.linear(X, X, **o), {"bias": None}),
    "F.layer_norm": (
        lambda **o: F.layer_norm(X, (3,), **o),
        {"weight": None, "bias": None, "eps": 1e-5},
    ),
    "F.rms_norm": (lambda **o: F.rms_norm(X, (3,), **o), {"weight": None, "eps": None}),
    "F.cross_entropy": (
        lambda **o: F.cross_entropy(X, IDS, **o),
        {"weight": None, "ignore_index": -100, "label_smoothing": 0.0, **LOSS},
    ),
    "F.nll_loss": (
        lambda **o: F.nll_loss(X, IDS, **o),
        {"weight": None, "ignore_index": -100, **LOSS},
    ),
    "F.mse_loss": (lambda **o: F.mse_loss(X, X, **o), {**LOSS, "weight": None}),
    "F.binary_cross_entropy_with_logits": (
        lambda **o: F.binary_cross_entropy_with_logits(X, X, **o),
        {"weight": None, "pos_weight": None, **LOSS},
    ),
    "F.scaled_dot_product_attention": (
        lambda **o: F.scaled_dot_product_attention(X, X, X, **o),
        {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "scale": None}
        | {"enable_gqa": False},
    ),
    "F.one_hot": (lambda **o: F.one_hot(IDS, **o), {"num_classes": -1}),
    "nn.utils.clip_grad_norm_": (
        lambda **o: nn.utils.clip_grad_norm_(params(), 1.0, **o),
        {"norm_type": 2.0, "error_if_nonfinite": False, "foreach": None},
    ),
    # optimisers and schedules
    "optim.SGD": (
        lambda **o: optim.SGD(params(), **o),
        {**UPDATE, "lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False},
    ),
    "optim.Adam": (
        lambda **o: optim.Adam(params(), **o),
        {**ADAM, "weight_decay": 0, "decoupled_weight_decay": False},
    ),
    "optim.AdamW": (lambda **o: optim.AdamW(params(), **o), {**ADAM, "weight_decay": 0.01}),
    "optim.Muon": (
        lambda **o: optim.Muon(params(), **o),
        {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "eps": 1e-7}
        | {"ns_coefficients": (3.4445, -4.775, 2.0315), "ns_steps": 5, "adjust_lr_fn": None},
    ),
    "Optimizer.zero_grad": (lambda **o: sgd().zero_grad(**o), {"set_to_none": True}),
    "Optimizer.step": (lambda **o: sgd().step(**o), {"closure": None}),
    "StepLR": (
        lambda **o: lr_scheduler.StepLR(sgd(), 2, **o),
        {"gamma": 0.1, "last_epoch": -1},
    ),
    "LinearLR": (
        lambda **o: lr_scheduler.LinearLR(sgd(), **o),
        {"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5, "last_epoch": -1},
    ),
    "CosineAnnealingLR": (
        lambda **o: lr_scheduler.CosineAnnealingLR(sgd(), 5, **o),
        {"eta_min": 0.0, "last_epoch": -1},
    ),
    "LambdaLR": (
        lambda **o: lr_scheduler.LambdaLR(sgd(), lambda t: 1.0, **o),
        {"last_epoch": -1},
    ),
    # makers
    "zeros": (lambda **o: tt.zeros(2, **o), MAKER),
    "ones": (lambda **o: tt.ones(2, **o), MAKER),
    "empty": (lambda **o: tt.empty(2, **o), MAKER),
    "full": (lambda **o: tt.full((2,), 3.0, **o), MAKER),
    "zeros_like": (lambda **o: tt.zeros_like(X, **o), MAKER),
    "ones_like": (lambda **o: tt.ones_like(X, **o), MAKER),
    "empty_like": (lambda **o: tt.empty_like(X, **o), MAKER),
    "full_like": (lambda **o: tt.full_like(X, 3.0, **o), MAKER),
    "eye": (lambda **o: tt.eye(2, **o), MAKER),
    "arange": (lambda **o: tt.arange(3, **o), MAKER),
    "linspace": (lambda **o: tt.linspace(0, 1, 3, **o), MAKER),
    "tensor": (
        lambda **o: tt.tensor([1.0], **o),
        {"dtype": None, "device": None, "requires_grad": False, "pin_memory": False},
    ),
    "as_tensor": (lambda **o: tt.as_tensor([1.0], **o), {"dtype": None, "device": None}),
    "rand": (lambda **o: tt.rand(2, **o), {**MAKER, "generator": None}),
    "randn": (lambda **o: tt.randn(2, **o), {**MAKER, "generator": None}),
    "rand_like": (lambda **o: tt.rand_like(X, **o), MAKER),
    "randn_like": (lambda **o: tt.randn_like(X, **o), MAKER),
    "randint": (lambda **o: tt.randint(0, 3, (2,), **o), {**MAKER, "generator": None}),
    "randperm": (
        lambda **o: tt.randperm(3, **o),
        {**MAKER, "generator": None, "dtype": tt.int64},
    ),
    # functions and methods
    "grad": (
        lambda **o: tt.grad(loss(), tt.ones(2, requires_grad=True), allow_unused=True, **o),
        {"grad_outputs": None, "retain_graph": None, "create_graph": False, "only_inputs": True}
        | {"is_grads_batched": False, "materialize_grads": False},
    ),
    "Tensor.backward": (
        lambda **o: loss().backward(**o),
        {"gradient": None, "retain_graph": None, "create_graph": False, "inputs": None},
    ),
    "div": (lambda **o: tt.div(X, X, **o), {"rounding_mode": None}),
    "add": (lambda **o: tt.add(X, X, **o), {"alpha": 1}),
    "addmm": (lambda **o: tt.addmm(X, X[:, :2], X, **o), {"beta": 1, "alpha": 1}),
    "gather": (lambda **o: tt.gather(X[0], 0, IDS, **o), {"sparse_grad": False}),
    "sum": (lambda **o: tt.sum(X, **o), {"dim": None, "keepdim": False, "dtype": None}),
    "amax": (lambda **o: tt.amax(X, **o), {"dim": (), "keepdim": False}),
    "var": (lambda **o: tt.var(X, **o), {"dim": None, "correction": 1, "keepdim": False}),
    "norm": (
        lambda **o: tt.norm(X, **o),
        {"p": "fro", "dim": None, "keepdim": False, "dtype": None},
    ),
    "linalg.vector_norm": (
        lambda **o: tt.linalg.vector_norm(X, **o),
        {"ord": 2, "dim": None, "keepdim": False, "dtype": None},
    ),
    "sort": (lambda **o: tt.sort(X, **o), {"dim": -1, "descending": False, "stable": False}),
    "topk": (lambda **o: tt.topk(X, 2, **o), {"dim": -1, "largest": True, "sorted": True}),
    "Tensor.copy_": (lambda **o: tt.zeros(2, 3).copy_(X, **o), {"non_blocking": False}),
    "Tensor.numpy": (X.numpy, {"force": False}),
    "Tensor.to": (
        X.to,
        {"device": None, "dtype": None, "non_blocking": False, "copy": False},
    ),
    "Tensor.requires_grad_": (tt.ones(2).requires_grad_, {"requires_grad": True}),
}
#: What would ask for something that is not here.
OTHERS: dict[str, Any] = {
    "device": "cuda",
    "layout": "sparse",
    "pin_memory": True,
    "foreach": True,
    "fused": True,
    "capturable": True,
    "differentiable": True,
    "amsgrad": True,
    "inplace": True,
    "padding_idx": 0,
    "max_norm": 1.0,
    "scale_grad_by_freq": True,
    "sparse": True,
    "sparse_grad": True,
    "size_average": True,
    "reduce": False,
    "bidirectional": True,
    "proj_size": 2,
    "only_inputs": False,
    "is_grads_batched": True,
    "assign": True,
    "destination": {},
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_pytorchs_defaults_are_accepted(name):
    call, defaults = DEFAULTS[name]
    call(**defaults)
    for option, value in defaults.items():
        call(**{option: value})


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_not_here_is_refused_by_name(name):
    call, defaults = DEFAULTS[name]
    for option in defaults.keys() & OTHERS.keys():
        named = "cuda" if option == "device" else option
        with pytest.raises((TypeError, ValueError), match=named):
            call(**{option: OTHERS[option]})


@pytest.mark.parametrize("name", ["zeros", "randn", "optim.AdamW", "tensor", "Module.to"])
def test_options_that_there_are_not_are_refused(name):
    with pytest.raises(TypeError, match="devcie"):
        DEFAULTS[name][0](devcie=None)


# ---- the device ----------------------------------------------------------------------------------


def test_there_is_one_device():
    cpu = tt.device("cpu")
    assert tt.device(cpu) == cpu == X.device and hash(cpu) == hash(X.device)
    assert str(cpu) == "cpu" and cpu.type == "cpu" and cpu.index is None
    assert repr(tt.device("cpu:0")) == "device(type='cpu', index=0)" != repr(cpu)
    assert tt.device("cpu", 0) == tt.device("cpu:0") != cpu
    assert pickle.loads(pickle.dumps(cpu)) == cpu
    assert tt.cuda.is_available() is False and tt.cuda.device_count() == 0
    for given in (("cuda",), ("cpu", 1), ("cuda:0",), (0,), (None,)):
        with pytest.raises(ValueError, match="computes on the CPU: expected 'cpu'"):
            tt.device(*given)
    chosen = tt.device("cuda" if tt.cuda.is_available() else "cpu")
    for device in (chosen, "cpu", "cpu:0", None):
        assert tt.zeros(2, device=device).tolist() == [0.0, 0.0]
        assert nn.Linear(2, 3, device=device).weight.device == cpu


def test_to_takes_a_device_a_type_or_both():
    x = tt.ones(2, requires_grad=True)
    assert x.to("cpu") is x.to(x.device) is x.to(tt.float32) is x.to(device="cpu") is x.cpu() is x
    for made in (x.to(tt.float64), x.to("cpu", tt.float64), x.to(dtype=tt.float64)):
        assert made.dtype is tt.float64
        made.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    double = tt.ones(1, dtype=tt.float64)
    assert x.to(double).dtype is x.to(other=double).dtype is x.type_as(double).dtype is tt.float64
    assert x.to("cpu", tt.float64, True, False).dtype is tt.float64
    copied = x.to("cpu", copy=True)
    assert copied is not x and copied.tolist() == x.tolist()
    with pytest.raises(ValueError, match="CPU: expected 'cpu', got 'cuda'"):
        x.to("cuda")
    with pytest.raises(TypeError, match="to: dtype must be one of"):
        x.to("float64")
    with pytest.raises(TypeError, match="to: dtype was given twice"):
        x.to(tt.float64, dtype=tt.float64)
    with pytest.raises(TypeError, match="to: expected at most 4 arguments, got 5"):
        x.to("cpu", tt.float64, True, False, None)


def test_a_module_goes_to_a_device_or_type():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    model.register_buffer("steps", tt.zeros(1, dtype=tt.int64))
    weight = model[0].weight
    assert model.to("cpu") is model.to(tt.device("cpu")) is model.cpu() is model
    assert model.to(tt.float32) is model and model[0].weight is weight
    assert model.to("cpu", tt.float64)[0].weight.dtype is tt.float64 and model[0].weight is weight
    assert model.steps.dtype is tt.int64
    assert model.to(tt.ones(1))[1].bias.dtype is tt.float32
    with pytest.raises(TypeError, match=r"to: expected a floating type for a Module, got .*int64"):
        model.to(tt.int64)
    with pytest.raises(ValueError, match="CPU"):
        model.to("cuda")
