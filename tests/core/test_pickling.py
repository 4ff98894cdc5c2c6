"""Modules, optimisers and tensors that were pickled or copied train on as if nothing had been."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import models, nested, nn, optim
from tinytape.models import gpt

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4)).astype(np.float32)
IDS = RNG.integers(0, 5, (2, 3))
SIZES: dict[str, Any] = {"vocab_size": 5, "context": 4, "width": 4}
GPT = models.GPTConfig(**SIZES, heads=2, layers=2, dropout=0.5)
LM = models.NestedConfig(**SIZES, hidden=6, norm=True, medium_memory=3.0, dropout=0.5)


def generator() -> tt.Generator:
    return tt.Generator(7)


def floats() -> tt.Tensor:
    return tt.tensor(X)


def ids() -> tt.Tensor:
    return tt.tensor(IDS)


def seeded(kind: Callable[..., nn.Module], *args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: kind(*args, **options, generator=generator())


def of_level() -> tuple[tt.Tensor, ...]:
    return tt.tensor(X), tt.tensor(X[:, :1])


#: Of each kind of module one that has everything that it can have, and what it is called with.
KINDS: dict[type[nn.Module], tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    nn.BCEWithLogitsLoss: (
        lambda: nn.BCEWithLogitsLoss(tt.ones(4), pos_weight=tt.full((4,), 2.0)),
        lambda: (floats(), tt.ones(2, 3, 4)),
    ),
    nn.CausalSelfAttention: (seeded(nn.CausalSelfAttention, 4, 2, 0.5), floats),
    nn.CrossEntropyLoss: (
        lambda: nn.CrossEntropyLoss(tt.ones(4) * 2),
        lambda: (floats().reshape(6, 4), ids().reshape(6) % 4),
    ),
    nn.Dropout: (seeded(nn.Dropout, 0.5), floats),
    nn.Embedding: (seeded(nn.Embedding, 5, 4), ids),
    nn.GELU: (lambda: nn.GELU("tanh"), floats),
    nn.Identity: (nn.Identity, floats),
    nn.LSTM: (seeded(nn.LSTM, 4, 4, 2, dropout=0.5), floats),
    nn.LSTMCell: (seeded(nn.LSTMCell, 4, 4), lambda: floats()[0]),
    nn.LayerNorm: (lambda: nn.LayerNorm(4), floats),
    nn.Linear: (seeded(nn.Linear, 4, 4), floats),
    nn.LogSoftmax: (lambda: nn.LogSoftmax(-1), floats),
    nn.MSELoss: (nn.MSELoss, lambda: (floats(), tt.ones(2, 3, 4))),
    nn.ModuleList: (lambda: nn.ModuleList([nn.Linear(4, 4, generator=generator())]), floats),
    nn.NLLLoss: (
        lambda: nn.NLLLoss(tt.ones(4) * 2),
        lambda: (floats().reshape(6, 4), ids().reshape(6) % 4),
    ),
    nn.RMSNorm: (lambda: nn.RMSNorm(4), floats),
    nn.ReLU: (nn.ReLU, floats),
    nn.Sequential: (
        lambda: nn.Sequential(nn.Linear(4, 4, generator=generator()), nn.ReLU()),
        floats,
    ),
    nn.SiLU: (nn.SiLU, floats),
    nn.Sigmoid: (nn.Sigmoid, floats),
    nn.Softmax: (lambda: nn.Softmax(-1), floats),
    nn.Softplus: (lambda: nn.Softplus(2.0), floats),
    nn.Tanh: (nn.Tanh, floats),
    gpt.MLP: (seeded(gpt.MLP, GPT, dtype=None), floats),
    gpt.Block: (seeded(gpt.Block, GPT, dtype=None), floats),
    models.GPT: (seeded(models.GPT, GPT), ids),
    models.NestedLM: (seeded(models.NestedLM, LM), ids),
    nested.NestedModel: (
        seeded(nested.NestedModel, 4, 6, norm=True, wiring="independent", mix="learned"),
        floats,
    ),
    nested.NestedModelWithSurprise: (seeded(nested.NestedModelWithSurprise, 4, 6), floats),
    nested.NestedModelWithState: (
        seeded(nested.NestedModelWithState, 4, 6, memory={"level2_medium": 3.0}),
        floats,
    ),
    nested.levels.FastLevel: (
        seeded(nested.levels.FastLevel, 4, norm=True, residual=True, forget_bias=1.0),
        floats,
    ),
    nested.levels.FeedForward: (
        seeded(nested.levels.FeedForward, 4, 6, norm=True, memory=True),
        of_level,
    ),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    f"protocol {n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in (2, 3, 4, 5)
}
WAYS["deepcopy"] = copy.deepcopy


def every_kind() -> set[type[nn.Module]]:
    """All classes of modules there are, but those that others are made of."""
    for module in pkgutil.walk_packages(tt.__path__, "tinytape."):
        if "_core" not in module.name:
            importlib.import_module(module.name)
    found, new = set(), {nn.Module}
    while new:
        found |= new
        new = {kind for parent in new for kind in parent.__subclasses__()} - found
    return {
        kind
        for kind in found - {nn.Module}
        if kind.__module__.startswith("tinytape.") and not kind.__name__.startswith("_")
    }


def test_every_kind_of_module_is_tried():
    assert every_kind() == set(KINDS)


def outputs(made: Any) -> list[tt.Tensor]:
    if isinstance(made, tt.Tensor):
        return [made]
    return [x for part in made if part is not None for x in outputs(part)]


def train(model: nn.Module, given: Any, optimizer: Any = None) -> list[bytes]:
    """Two steps: everything that came out of them, to the last bit."""
    params = list(model.parameters())
    if optimizer is None and params:
        optimizer = optim.AdamW(model.named_parameters(), lr=0.1)
    seen = []
    for _ in range(2):
        args = given() if isinstance(given(), tuple) else (given(),)
        args = tuple(x.requires_grad_() if x.dtype.is_floating_point else x for x in args)
        made = model[0](*args) if isinstance(model, nn.ModuleList) else model(*args)
        loss = sum(((y * y).sum() for y in outputs(made)[1:]), (outputs(made)[0] ** 2).sum())
        loss.backward()
        seen.append(loss.item())
        assert all(p.grad is not None for p in params if p.requires_grad)
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
        if hasattr(model, "detach_states"):
            model.detach_states()
        if hasattr(model, "nested"):
            model.nested.detach_states()
    values = [np.float64(x).tobytes() for x in seen]
    return values + [t.numpy().tobytes() for t in model.state_dict().values()]


def same_structure(model: nn.Module, twin: nn.Module) -> None:
    assert type(twin) is type(model) and repr(twin) == repr(model)
    ours, theirs = dict(model.named_parameters()), dict(twin.named_parameters())
    assert list(ours) == list(theirs)
    for name, param in ours.items():
        other = theirs[name]
        assert type(other) is type(param) and other is not param
        assert other.requires_grad == param.requires_grad and other.dtype is param.dtype
        assert other.name == param.name and other.is_leaf and other.grad is None
        assert other.numpy().tobytes() == param.numpy().tobytes()
    assert [m.training for m in model.modules()] == [m.training for m in twin.modules()]
    buffers, copied = dict(model.named_buffers()), dict(twin.named_buffers())
    assert {k: b.tolist() for k, b in buffers.items()} == {k: b.tolist() for k, b in copied.items()}
    assert list(model.state_dict()) == list(twin.state_dict())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_module_trains_on_as_if_it_had_not_been_pickled(kind, way):
    make, given = KINDS[kind]
    model = make()
    twin = WAYS[way](model)
    same_structure(model, twin)
    assert train(twin, given) == train(model, given)
    again = WAYS[way](model)  # one that was trained, whatever its state is by now
    assert train(again, given) == train(model, given)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_shallow_copy_has_the_same_parameters_and_is_trained_with_them(kind):
    make, given = KINDS[kind]
    model = make()
    twin = copy.copy(model)
    assert type(twin) is kind and repr(twin) == repr(model)
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert all(a is b for a, b in zip(model.buffers(), twin.buffers(), strict=True))
    before = [p.numpy() for p in model.parameters()]
    train(twin, given)
    assert all((p.numpy() != b).any() for p, b in zip(model.parameters(), before, strict=True))
    twin.register_buffer("extra", tt.zeros(1), persistent=False)
    assert not model._non_persistent_buffers and not hasattr(model, "extra")


def tied() -> nn.Module:
    """With a weight that two layers share, one that is frozen, and buffers of both kinds."""
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5), nn.Linear(5, 5)).eval()
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    model.register_buffer("kept", tt.arange(3))
    model[1].register_buffer("passing", tt.ones(2), persistent=False)
    return model


@pytest.mark.parametrize("way", WAYS)
def test_what_is_shared_stays_shared(way):
    model = tied()
    model.again = model[1].weight  # and by another name
    twin = WAYS[way](model)
    same_structure(model, twin)
    assert twin[1].weight is twin[0].weight is twin.again
    assert len(list(twin.parameters())) == len(list(model.parameters())) == 4
    assert twin[2].weight.requires_grad is False
    assert train(twin, ids) == train(model, ids)


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "Adam": lambda model: optim.Adam(model.parameters(), lr=0.1),
    "AdamW": lambda model: optim.AdamW(model.named_parameters(), lr=0.1),
    "Muon": lambda model: optim.Muon([model[0].weight], lr=0.1),
    "MuonWithAuxAdam": lambda model: optim.MuonWithAuxAdam(
        [
            {"params": [model[0].weight], "use_muon": True},
            {"params": [model[0].bias, *model[2].parameters()], "use_muon": False},
        ]
    ),
    "DGD": lambda model: optim.DGD(model.parameters(), lr=0.1, inputs=optim.LayerInputs(model)),
    "DeltaAdam": lambda model: optim.DeltaAdam(
        model.parameters(), lr=0.1, inputs=optim.LayerInputs(model)
    ),
    "DeltaMomentum": lambda model: optim.DeltaMomentum(model.parameters(), lr=0.1),
    "DeltaRule": lambda model: optim.DeltaRule(
        model.parameters(), lr=0.1, inputs=optim.LayerInputs(model)
    ),
}


def test_every_optimiser_is_tried():
    kinds = {name for name in optim.__all__ if name[0].isupper()} - {"LayerInputs", "Optimizer"}
    assert set(OPTIMIZERS) == kinds


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_with_its_model(name, way):
    """Pickled together they refer to the same parameters, and the moments go on."""
    source = generator()
    model = nn.Sequential(
        nn.Linear(4, 4, generator=source), nn.Tanh(), nn.Linear(4, 4, generator=source)
    )
    optimizer = OPTIMIZERS[name](model)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    train(model, floats, optimizer)
    schedule.step()
    twin, other, plan = WAYS[way]((model, optimizer, schedule))
    held = {id(p) for group in other.param_groups for p in group["params"]}
    assert held <= {id(p) for p in twin.parameters()} and held == {id(p) for p in other.state}
    assert plan.optimizer is other
    for _ in range(2):
        assert train(twin, floats, other) == train(model, floats, optimizer)
        plan.step()
        schedule.step()
        assert plan.get_last_lr() == schedule.get_last_lr()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wiring", nested.model.WIRINGS)
def test_the_optimisers_of_levels_go_with_their_model(wiring, way):
    model = nested.NestedModelWithState(4, 6, wiring=wiring, generator=generator())
    pace = nested.ChunkedUpdateScheduler({"level1_fast": 1, "level2_medium": 2, "level3_slow": 3})
    levels = nested.LevelOptimizers(model, pace, optim.AdamW, lr=0.1)

    def steps(model: Any, levels: Any, first: int) -> list[bytes]:
        for step in range(first, first + 3):
            y = outputs(model(floats()))[0]
            (y * y).mean().backward()
            levels.step(step)
            model.detach_states()
        return [p.numpy().tobytes() for p in model.parameters()]

    steps(model, levels, 1)
    steps(model, levels, 4)  # after which nothing is left to be used
    twin, others = WAYS[way]((model, levels))
    assert steps(twin, others, 7) == steps(model, levels, 7)
    steps(model, levels, 10)
    steps(model, levels, 2)  # in the middle of a chunk: the gradients are left behind
    assert levels.pending == {"level1_fast": 0, "level2_medium": 0, "level3_slow": 1}
    twin, others = WAYS[way]((model, levels))
    model.zero_grad()
    levels.pending = dict.fromkeys(levels.pending, 0)
    assert steps(twin, others, 5) == steps(model, levels, 5)


#: The names by which pickles find what they are made of, in all versions so far.
NAMES = {
    "tinytape.tensor": "Tensor rebuild",
    "tinytape.copying": "rebuild",
    "tinytape.devices": "device",
    "tinytape.dtypes": "bool_ float32 float64 int8 int16 int32 int64 uint8",
    "tinytape.random": "Generator",
    "tinytape.nn.parameter": "Parameter",
    "tinytape.nn.table": "Table",
    "tinytape.nn.activation": "GELU LogSoftmax ReLU Sigmoid SiLU Softmax Softplus Tanh",
    "tinytape.nn.attention": "CausalSelfAttention",
    "tinytape.nn.container": "ModuleList Sequential",
    "tinytape.nn.dropout": "Dropout",
    "tinytape.nn.linear": "Identity Linear",
    "tinytape.nn.loss": "BCEWithLogitsLoss CrossEntropyLoss MSELoss NLLLoss",
    "tinytape.nn.normalization": "LayerNorm RMSNorm",
    "tinytape.nn.recurrent": "LSTM LSTMCell",
    "tinytape.nn.sparse": "Embedding",
    "tinytape.models.gpt": "GPT GPTConfig",
    "tinytape.models.nested": "NestedConfig NestedLM",
    "tinytape.nested.levels": "FastLevel FeedForward",
    "tinytape.nested.model": "NestedModel NestedModelWithSurprise",
    "tinytape.nested.optimizers": "LevelOptimizers",
    "tinytape.nested.scheduler": "ChunkedUpdateScheduler",
    "tinytape.nested.starts": "LearnedStarts",
    "tinytape.nested.state": "CarriedState",
    "tinytape.nested.stateful": "NestedModelWithState",
    "tinytape.nested.surprise": "SurpriseLossComputer",
    "tinytape.optim.adam": "Adam",
    "tinytape.optim.adamw": "AdamW",
    "tinytape.optim.delta_adam": "DeltaAdam",
    "tinytape.optim.delta_momentum": "DeltaMomentum",
    "tinytape.optim.delta_rule": "DeltaRule",
    "tinytape.optim.dgd": "DGD",
    "tinytape.optim.layer_inputs": "LayerInputs _Place",
    "tinytape.optim.lr_scheduler": "CosineAnnealingLR LambdaLR LinearLR SequentialLR StepLR",
    "tinytape.optim.muon": "Muon",
    "tinytape.optim.muon_with_aux_adam": "MuonWithAuxAdam",
    "tinytape.optim.sgd": "SGD",
}


@pytest.mark.parametrize("module", NAMES)
def test_older_pickles_find_what_they_name(module):
    for name in NAMES[module].split():
        assert hasattr(importlib.import_module(module), name), name
