"""Muon with AdamW beside it: which parameter gets which rule, and each its own step."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytape import models, nn, optim
from tinytape.models.spec import build_optimizer
from tinytape.training import RunFolder, TrainConfig, resolve
from tinytape.training.session import Session, build_session
from tinytape.training.step import train_step

from ..support.watched_net import Net, add_gradients
from .test_muon import muon_by_hand

BLOCKS = {
    **{f"lstm.weight_{kind}_l{layer}": 4 for kind in ("ih", "hh") for layer in (0, 1)},
    **{"cell.weight_ih": 4, "cell.weight_hh": 4, "up.weight": 1, "down.weight": 1},
}


def adamw_by_hand(w, grads, *, lr, betas, eps, weight_decay):
    m = v = np.zeros_like(w)
    for step, g in enumerate(grads, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        w = w - lr * weight_decay * w
        root = np.sqrt(v / (1 - betas[1] ** step)) + eps
        w = w - lr * m / (1 - betas[0] ** step) / root
    return w


def config(**changes: Any) -> TrainConfig:
    return resolve(TrainConfig(model="tiny", optimizer="muon", **changes))


def test_steps_of_a_mixed_model_by_hand() -> None:
    net = Net()
    chosen = config(lr=0.02, weight_decay=0.3, beta1=0.8, beta2=0.95, muon_momentum=0.7)
    optimizer = build_optimizer(list(net.named_parameters()), chosen, model=net)
    start = {name: p.numpy() for name, p in net.named_parameters()}
    grads: dict[str, list[np.ndarray]] = {name: [] for name in start}
    for seed in range(4):
        add_gradients(net, seed)
        for name, p in net.named_parameters():
            grads[name].append(p.grad.numpy())
        optimizer.step()
        optimizer.zero_grad()
    for name, p in net.named_parameters():
        if name in BLOCKS:
            options = {"lr": 0.02, "weight_decay": 0.3, "momentum": 0.7}
            options |= {"adjust_lr_fn": "match_rms_adamw", "row_blocks": BLOCKS[name]}
            expected, _ = muon_by_hand(start[name], grads[name], **options)
        else:
            decay = 0.3 if p.ndim == 2 else 0.0
            expected = adamw_by_hand(
                start[name], grads[name], lr=0.02, betas=(0.8, 0.95), eps=1e-8, weight_decay=decay
            )
        np.testing.assert_allclose(p.numpy(), expected, rtol=1e-9, atol=1e-11, err_msg=name)


def test_hidden_matrices_are_told_by_the_kind_of_their_module() -> None:
    net = Net()
    names = {p: name for name, p in net.named_parameters()}
    found = {names[p]: blocks for p, blocks in optim.hidden_matrices(net, net.head).items()}
    assert found == BLOCKS
    assert optim.hidden_matrices(net).keys() - optim.hidden_matrices(net, net.head).keys() == {
        net.head.weight
    }
    net.up.weight.requires_grad_(False)
    assert net.up.weight not in optim.hidden_matrices(net, net.head)
    with pytest.raises(TypeError, match="hidden_matrices: expected Modules, got str"):
        optim.hidden_matrices(net, "head")  # type: ignore[arg-type]


def test_a_head_that_shares_the_embedding_is_not_hidden() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    net[2].weight = net[0].weight
    assert set(optim.hidden_matrices(net)) == {net[1].weight}
    assert set(optim.hidden_matrices(net, net[2])) == {net[1].weight}


@pytest.mark.parametrize("preset", models.presets())
def test_every_preset_has_its_rules(preset: str) -> None:
    model = models.create(preset, 11, context=8)
    found = optim.hidden_matrices(model, model.head)
    blocks = {name: found.get(p) for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        inside = ("blocks." in name or "nested." in name) and p.ndim == 2
        expected = 3 if ".qkv." in name else 4 if "level1_fast" in name else 1
        assert blocks[name] == (expected if inside else None), name
    assert any(blocks.values())


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(" ".join(rng.choice(["the", "cat", "sat", "on", "a", "mat"], 700)))
    return path


def session_of(text: Path, **changes: Any) -> Session:
    given = {"iters": 12, "batch_size": 3, "context": 12, "warmup": 1, "data": str(text)}
    return build_session(resolve(TrainConfig(optimizer="muon", **{**given, **changes})))


SMALL = ("tiny", "nested-state", "nested-original")


@pytest.mark.parametrize("preset", SMALL)
def test_every_parameter_learns(text: Path, tmp_path: Path, preset: str) -> None:
    chunks = {"chunk_sizes": "1,2,3"} if preset.startswith("nested") else {}
    session = session_of(text, model=preset, **chunks)
    before = {name: p.numpy() for name, p in session.model.named_parameters()}
    for step in range(7):
        train_step(session, RunFolder(tmp_path), check_gradients=step == 0)
    for name, p in session.model.named_parameters():
        assert not np.array_equal(p.numpy(), before[name]), name
        assert np.isfinite(p.numpy()).all(), name


@pytest.mark.parametrize("preset", SMALL)
def test_the_threads_do_not_show(text: Path, tmp_path: Path, preset: str, threads: Any) -> None:
    results = []
    for count in (1, 2):
        threads(count)
        session = session_of(text, model=preset, context=40, batch_size=4)
        for _ in range(3):
            train_step(session, RunFolder(tmp_path))
        results.append({name: p.numpy() for name, p in session.model.named_parameters()})
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])


def test_a_schedule_and_the_settings_of_a_run_reach_both_rules() -> None:
    net = Net()
    optimizer = build_optimizer(list(net.named_parameters()), config(lr=0.5), model=net)
    assert {group["use_muon"] for group in optimizer.param_groups} == {True, False}
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    schedule.step()
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}
    saved = optimizer.state_dict()  # notes initial_lr
    other = build_optimizer(list(net.named_parameters()), config(lr=0.1), model=net)
    other.load_state_dict(saved)
    assert {group["lr"] for group in other.param_groups} == {0.25}
    # Groups are cut alike whatever their decay, so that it may change at a resume.
    undecayed = dataclasses.replace(config(), weight_decay=0.0)
    build_optimizer(list(net.named_parameters()), undecayed, model=net).load_state_dict(saved)


def test_the_rest_of_a_group_is_as_its_rule_has_it() -> None:
    linear = nn.Linear(3, 2)
    optimizer = optim.MuonWithAuxAdam(
        [
            {"params": [("w", linear.weight)], "use_muon": True, "lr": 0.25},
            {"params": linear.bias, "use_muon": False, "eps": 0.5},
        ]
    )
    alone = [optim.Muon([linear.weight], lr=0.25), optim.AdamW([linear.bias], eps=0.5)]
    for group, other in zip(optimizer.param_groups, alone, strict=True):
        expected = other.param_groups[0]
        assert {k: group[k] for k in expected if "param" not in k} == {
            k: v for k, v in expected.items() if "param" not in k
        }
    assert "momentum_buffer" in optimizer.state[linear.weight]
    assert "exp_avg_sq" in optimizer.state[linear.bias]


def test_refusals() -> None:
    linear = nn.Linear(3, 2)
    named = list(linear.named_parameters())
    for groups, message in (
        (
            [{"params": named, "use_muon": True}],
            r"expected parameters of 2 dimensions, got 'bias' of shape \(2,\)",
        ),
        ([{"params": named}], "expected use_muon to be True or False in every group, got none"),
        ([{"params": named, "use_muon": 1}], "use_muon to be True or False in every group, got 1"),
        (
            [{"params": named, "use_muon": False, "momentum": 0.9}],
            "expected the options betas, .* use_muon=False, got betas, .*, momentum, weight_decay",
        ),
        (
            [{"params": named[:1], "use_muon": True, "betas": (0.9, 0.9)}],
            "expected the options .* use_muon=True, got .*betas",
        ),
        ([{"params": named, "use_muon": False, "betas": (0.9, 1.0)}], "betas of two numbers"),
        ([{"params": named[:1], "use_muon": True, "row_blocks": 4}], "'weight' .* row_blocks=4"),
        (
            [{"params": named[:1], "use_muon": True}, {"params": named, "use_muon": False}],
            "'weight' was given more than once",
        ),
        (linear.named_parameters(), "expected use_muon .* got none"),
        ([], "expected at least one parameter"),
    ):
        with pytest.raises(ValueError, match=f"MuonWithAuxAdam: .*{message}"):
            optim.MuonWithAuxAdam(groups)  # type: ignore[arg-type]
    optimizer = optim.MuonWithAuxAdam([{"params": named[:1], "use_muon": True}])
    with pytest.raises(TypeError, match="expected a dict, got list"):
        optimizer.add_param_group([linear.bias])  # type: ignore[arg-type]
    for change in ({"use_muon": False}, {"use_muon": "yes"}, {"ns_steps": -1}, {"colour": 3}):
        saved = optimizer.state_dict()
        saved["param_groups"][0] |= change
        with pytest.raises(nn.StateDictError, match=f"{next(iter(change))}"):
            optimizer.load_state_dict(saved)
        assert optimizer.param_groups[0]["use_muon"] is True
