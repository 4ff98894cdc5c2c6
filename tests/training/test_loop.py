"""The loop: it learns, it measures what it says it measures, and it stops before it does harm."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import models
from tinytape.errors import NonFiniteError
from tinytape.nn import functional as F
from tinytape.training import (
    MissingGradientError,
    RunFolder,
    TrainConfig,
    held_out_loss,
    load_checkpoint,
    loop,
    resolve,
    train,
)
from tinytape.training.nonfinite import first_bad_operation
from tinytape.training.progress import Console
from tinytape.training.report import planned_memory
from tinytape.training.saving import save
from tinytape.training.session import Session, build_session
from tinytape.training.state_tree import join_state, split_state
from tinytape.training.step import batch_losses

WORDS = "the cat sat on a mat; who knows why? nobody does, said the dog.\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 characters with some order in them."""
    rng = np.random.default_rng(0)
    words = WORDS.split(" ")
    path = tmp_path_factory.mktemp("corpus") / "cats.txt"
    path.write_text(" ".join(words[i] for i in rng.integers(0, len(words), 900))[:4000])
    return path


def settings(text: Path, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "tiny",
            "data": str(text),
            "out": str(out),
            "iters": 12,
            "batch_size": 4,
            "eval_interval": 5,
            "checkpoint_interval": 6,
            **changes,
        }
    )


def silent() -> Console:
    return Console(io.StringIO())


def session_of(text: Path, tmp_path: Path, **changes: Any) -> Session:
    return build_session(resolve(settings(text, tmp_path / "run", **changes)))


def weights(model: tt.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_it_learns_and_leaves_a_complete_run(text: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    done = train(settings(text, tmp_path / "run", iters=60, lr=3e-3), console=Console(output))
    folder = RunFolder(tmp_path / "run")
    assert (done.stopped, done.exit_code) == (None, 0)
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "best",
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "tokenizer.json",
    ]
    metrics = folder.read_metrics()
    assert [m["step"] for m in metrics] == list(range(0, 61, 5))
    unigram = done.session.entropies["unigram"]
    vocab = done.session.tokenizer.vocab_size
    assert metrics[0]["val_loss"] == pytest.approx(math.log(vocab), abs=0.15)
    assert metrics[-1]["val_loss"] < unigram - 0.3
    assert metrics[-1]["train_loss"] < metrics[1]["train_loss"]
    assert metrics[0]["train_loss"] is None and metrics[0]["tokens_per_s"] is None
    assert metrics[-1]["tokens"] == 60 * 4 * 32
    for key in ("lr", "elapsed_s", "tokens_per_s", "grad_norm", "rss_mb"):
        assert metrics[-1][key] > 0, key
    assert done.session.counters.best_loss == min(m["val_loss"] for m in metrics)
    # The final weights are those of the last checkpoint, and those in memory.
    last = load_checkpoint(folder.checkpoints / "step-00000060")
    for name, array in weights(done.session.model).items():
        assert np.array_equal(last.model[name], array)
    assert len(list(folder.checkpoints.iterdir())) == 3
    # The best ones, apart.
    (best,) = folder.best.iterdir()
    assert load_checkpoint(best).step == done.session.counters.best_step
    said = output.getvalue()
    assert "\r" not in said  # not a terminal: plain lines
    assert said.count("held-out") >= len(metrics)
    assert f"python -m tinytape.generate {folder}" in said


def test_the_resolved_settings_are_written(text: Path, tmp_path: Path) -> None:
    done = train(settings(text, tmp_path / "run", iters=1), console=silent())
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    train_settings = record["train"]
    assert train_settings["lr"] == 2e-3 and train_settings["min_lr"] == 2e-4
    assert TrainConfig(**train_settings) == done.session.config
    assert record["model"] == done.session.model.config.to_dict()
    assert record["corpus"]["sha256"] == done.session.corpus.sha256
    assert record["corpus"]["name"] == "cats" and record["corpus"]["characters"] == 4000


def test_the_header_says_what_is_trained_on_what(text: Path, tmp_path: Path) -> None:
    output = io.StringIO()
    done = train(settings(text, tmp_path / "run", iters=1), console=Console(output))
    head = output.getvalue().split("step 0/1")[0]  # before the first step
    session = done.session
    count = sum(p.numel() for p in session.model.parameters())
    for fact in (
        "cats",
        session.corpus.sha256,
        f"{session.entropies['unigram']:.3f} nats per character (unigram",
        f"{session.entropies['bigram']:.3f} (bigram",
        f"{count:,} parameters",
        "MB planned",
        f"{tt.get_num_threads()} threads",
        "SIMD",
    ):
        assert fact in head, fact


def test_the_planned_memory_is_about_what_a_step_takes(text: Path, tmp_path: Path) -> None:
    ratios = []

    def measure() -> None:  # in a thread of its own, whose arena no other test has stretched
        session = session_of(text, tmp_path, batch_size=8)
        for _ in range(3):
            loop.train_step(session, RunFolder(tmp_path))
        ratios.append(planned_memory(session)["one step"] / tt.memory_stats()["step_high_water"])

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert len(ratios) == 1 and 0.6 < ratios[0] < 1.7


@pytest.mark.slow
def test_memory_is_flat_from_step_200_on(text: Path, tmp_path: Path) -> None:
    """Through evaluations, checkpoints and their rotation, in a process of its own."""
    out = tmp_path / "run"
    flags = ["--model", "tiny", "--data", str(text), "--out", str(out), "--batch-size", "2"]
    flags += ["--iters", "1000", "--eval-interval", "200", "--checkpoint-interval", "100"]
    subprocess.run(
        [sys.executable, "-m", "tinytape.train", *flags], check=True, capture_output=True
    )
    metrics = RunFolder(out).read_metrics()
    assert [m["step"] for m in metrics] == [0, 200, 400, 600, 800, 1000]
    for key in ("arena_bytes", "system_bytes", "system_allocations"):
        assert len({m[key] for m in metrics[1:]}) == 1, key


def test_the_held_out_loss_is_the_mean_over_every_target(text: Path, tmp_path: Path) -> None:
    """Against log-softmax written out in float64 numpy, window by window."""
    session = session_of(text, tmp_path, dtype="float64")
    ids, context = session.splits.held_out, session.context
    assert (len(ids) - 1) % context != 0  # there is a partial window at the end
    losses = []
    with tt.no_grad():
        for at in range(0, len(ids) - 1, context):
            x = ids[at : at + context][: len(ids) - 1 - at].astype(np.int64)
            logits = session.model(tt.tensor(x[None])).numpy()[0]
            y = ids[at + 1 : at + 1 + len(x)]
            shifted = logits - logits.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            losses += (-log_p[np.arange(len(x)), y]).tolist()
    assert len(losses) == len(ids) - 1
    assert held_out_loss(session.model, ids, context) == pytest.approx(np.mean(losses), abs=1e-12)


def test_the_held_out_loss_ignores_batch_size_dropout_and_mode(text: Path, tmp_path: Path) -> None:
    losses = set()
    for changes in ({}, {"batch_size": 7}, {"dropout": 0.5}):
        session = session_of(text, tmp_path, **changes)
        session.model.train()
        losses.add(held_out_loss(session.model, session.splits.held_out, session.context))
        assert session.model.training and tt.is_grad_enabled()
    assert len(losses) == 1


def test_an_evaluation_can_be_left(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path)
    session.model.train()
    assert held_out_loss(session.model, session.splits.held_out, 32, lambda: True) is None
    assert session.model.training


def test_a_step_is_the_plain_loop(text: Path, tmp_path: Path) -> None:
    """Three steps of ``train_step`` against the loop that anybody would write."""
    ours, plain = (session_of(text, tmp_path, clip=0.5) for _ in range(2))
    for _ in range(3):
        loop.train_step(ours, RunFolder(tmp_path))
    for step in range(3):
        x, y = plain.task.windows.batch(step)
        loss = F.cross_entropy(
            plain.model(tt.tensor(x)).reshape(-1, plain.tokenizer.vocab_size),
            tt.tensor(y.reshape(-1)),
        )
        loss.backward()
        tt.nn.utils.clip_grad_norm_(plain.model.parameters(), 0.5)
        plain.updates.optimizer.step()
        plain.updates.scheduler.step()
        plain.updates.optimizer.zero_grad()
    for name, array in weights(ours.model).items():
        assert np.array_equal(array, weights(plain.model)[name]), name


def test_a_step_of_several_batches_is_one_of_their_mean(text: Path, tmp_path: Path) -> None:
    """Batches of 2 in threes, as one batch of the same six windows."""
    ours = session_of(text, tmp_path, batch_size=2, gradient_accumulation_steps=3, dtype="float64")
    plain = session_of(text, tmp_path, batch_size=6, dtype="float64")
    for _ in range(3):
        loss = loop.train_step(ours, RunFolder(tmp_path))
        assert loss == pytest.approx(loop.train_step(plain, RunFolder(tmp_path)), rel=1e-12)
    assert ours.counters.step == 3 and ours.counters.micro_step == 0
    assert ours.tokens_per_step == plain.tokens_per_step
    for name, array in weights(ours.model).items():
        np.testing.assert_allclose(array, weights(plain.model)[name], rtol=1e-9, atol=1e-12)


def test_a_parameter_without_a_gradient_stops_the_run(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_an_idle_layer(config: TrainConfig) -> Session:
        session = build_session(config)
        session.model.idle = tt.nn.Linear(2, 3)
        session.updates = models.spec_of(session.model).updates(session.model, config)
        return session

    monkeypatch.setattr(loop, "build_session", with_an_idle_layer)
    with pytest.raises(MissingGradientError, match=r"no gradient reached idle\.weight, idle\.bias"):
        train(settings(text, tmp_path / "run"), console=silent())
    metrics = RunFolder(tmp_path / "run").read_metrics()
    assert [m["step"] for m in metrics] == [0]


def test_a_frozen_parameter_wants_no_gradient(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path)
    session.model.position_embedding.weight.requires_grad_(False)
    loop.train_step(session, RunFolder(tmp_path), check_gradients=True)


def test_weights_that_are_not_finite_are_not_saved(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path)
    session.model.head.bias.fill_(math.inf)
    with pytest.raises(NonFiniteError, match=r"head\.bias is nan; .* no checkpoint yet"):
        save(session, RunFolder(tmp_path), tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


class Planted:
    """A loss or gradient norm that is not finite in the steps ``at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: str, at: set[int]) -> None:
        self.before: list[dict[str, np.ndarray]] = []  # the weights before each step
        self.session: Session | None = None
        step, loss, clip = loop.train_step, F.cross_entropy, tt.nn.utils.clip_grad_norm_

        def recorded(session: Session, *args: Any, **named: Any) -> float | None:
            self.session = session
            self.before.append(weights(session.model))
            return step(session, *args, **named)

        def bad() -> bool:
            session = self.session
            return session is not None and session.model.training and session.counters.step in at

        def bad_loss(*args: Any, **named: Any) -> tt.Tensor:
            value = loss(*args, **named)
            return (value - value.detach() - 1).sqrt() if bad() else value  # sqrt(-1)

        def bad_norm(*args: Any, **named: Any) -> tt.Tensor:
            return clip(*args, **named) * (math.inf if bad() else 1.0)

        monkeypatch.setattr(loop, "train_step", recorded)
        if where == "the loss":
            monkeypatch.setattr(F, "cross_entropy", bad_loss)
        else:
            monkeypatch.setattr(tt.nn.utils, "clip_grad_norm_", bad_norm)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize(
    ("where", "origin"), [("the loss", "sqrt"), ("the gradient norm", "no single operation")]
)
def test_a_value_that_is_not_finite_never_reaches_the_weights(
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    origin: str,
    batches: int,
) -> None:
    """Planted at step 7, after the checkpoint at step 6."""
    planted = Planted(monkeypatch, where, {7})
    given = settings(text, tmp_path / "run", eval_interval=100, gradient_accumulation_steps=batches)
    with pytest.raises(NonFiniteError) as error:
        train(given, console=silent())
    message = str(error.value)
    assert f"step 7: {where} is" in message and f"first in {origin}" in message
    last = tmp_path / "run" / "checkpoints" / "step-00000006"
    assert f"the last good checkpoint is {last}" in message
    assert planted.session is not None
    after = weights(planted.session.model)
    assert all(np.array_equal(after[name], array) for name, array in planted.before[-1].items())
    assert not np.array_equal(planted.before[-1]["head.weight"], planted.before[-2]["head.weight"])


@pytest.mark.parametrize("where", ["the loss", "the gradient norm"])
def test_steps_that_are_not_finite_can_be_left_out(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Two in a row are, a third is not; in between the count begins anew."""
    planted = Planted(monkeypatch, where, {2, 4, 5})
    output = io.StringIO()
    given = settings(text, tmp_path / "run", skip_nonfinite=2, dropout=0.1)
    done = train(given, console=Console(output))
    assert done.exit_code == 0
    counters = done.session.counters
    assert (counters.step, counters.skipped, counters.skipped_in_a_row) == (12, 3, 0)
    for step in range(11):
        same = np.array_equal(
            planted.before[step]["head.weight"], planted.before[step + 1]["head.weight"]
        )
        assert same == (step in {2, 4, 5}), step
    assert output.getvalue().count("the step was left out") == 3
    assert "2 in a row of at most 2" in output.getvalue()
    assert all(math.isfinite(m["train_loss"]) for m in done.folder.read_metrics()[1:])

    planted = Planted(monkeypatch, where, {7, 8, 9})
    with pytest.raises(NonFiniteError, match=r"step 9: .*2 in a row were left out before it"):
        train(dataclasses.replace(given, out=str(tmp_path / "other")), console=silent())


def test_looking_for_the_first_bad_operation_moves_nothing(text: Path, tmp_path: Path) -> None:
    """A step that is left out draws what a good one would have drawn."""
    session = session_of(text, tmp_path, dropout=0.3)
    before = session.snapshot()
    loop.train_step(session, RunFolder(tmp_path))
    assert session.generator.offset > before.generator["offset"]
    session.rewind(before)
    session.model.head.bias.fill_(math.nan)
    said = first_bad_operation(session, lambda: batch_losses(session, 0)[0].backward(), before)
    assert "linear" in said and session.snapshot() == before
    assert all(p.grad is None for p in session.model.parameters())


def test_decay_is_for_matrices(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path, weight_decay=0.25)
    decay = {
        name: group["weight_decay"]
        for group in session.updates.optimizer.param_groups
        for name in group["param_names"]
    }
    for name, parameter in session.model.named_parameters():
        assert decay.pop(name) == (0.25 if parameter.ndim >= 2 else 0.0), name
    assert decay == {}


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "muon"])
def test_every_optimizer_learns_and_its_state_goes_through_json(
    text: Path, tmp_path: Path, optimizer: str
) -> None:
    session = session_of(text, tmp_path, optimizer=optimizer, iters=30, warmup=1)
    losses = [loop.train_step(session, RunFolder(tmp_path)) for _ in range(30)]
    assert np.mean(losses[-5:]) < losses[0] - 0.2
    tree, arrays = split_state(session.updates.optimizer.state_dict(), "optimizer")
    again = split_state(join_state(json.loads(json.dumps(tree)), arrays), "optimizer")
    assert json.dumps(again[0], sort_keys=True) == json.dumps(tree, sort_keys=True)
    assert again[1].keys() == arrays.keys() and len(arrays) > 0


def test_state_that_cannot_be_saved_is_named() -> None:
    with pytest.raises(TypeError, match=r"state optimizer\.x: cannot save a object"):
        split_state({"x": object()}, "optimizer")
    with pytest.raises(TypeError, match="expected names as keys"):
        split_state({1: 2}, "optimizer")
