"""Nested models in training: streams, carried states, levels at their own pace, exact resume."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytape as tt
from tinytape import models, sampling
from tinytape import train as train_command
from tinytape.models.spec import EVALUATION_ROWS, stream_loss
from tinytape.nn import functional as F
from tinytape.training import (
    ConfigError,
    MissingGradientError,
    RunFolder,
    TrainConfig,
    latest_checkpoint,
    load_checkpoint,
    load_run,
    resolve,
    resume,
    save_checkpoint,
    train,
)
from tinytape.training import step as step_module
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.progress import Console
from tinytape.training.report import header, planned_memory
from tinytape.training.session import Session, build_session
from tinytape.training.verify import verify

WORDS = "the cat sat on a mat who knows why nobody does said dog"


@pytest.fixture(scope="module", autouse=True)
def small_sizes() -> Any:
    """The presets at a width that makes a step cheap."""
    before = {name: dict(options) for name, options in models.nested.PRESETS.items()}
    for options in models.nested.PRESETS.values():
        options |= {"width": 24, "hidden": 32, "context": 16}
    yield
    for name, options in before.items():
        models.nested.PRESETS[name].clear()
        models.nested.PRESETS[name].update(options)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 characters in documents of 100 words, with some order in them."""
    rng = np.random.default_rng(2)
    documents = [" ".join(rng.choice(WORDS.split(), 20)) for _ in range(40)]
    path = tmp_path_factory.mktemp("corpus") / "documents.txt"
    path.write_text("##".join(documents)[:3000])
    return path


def settings(text: Path, out: Path, **changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "nested-state",
            "data": str(text),
            "out": str(out),
            "iters": 24,
            "batch_size": 3,
            "eval_interval": 8,
            "checkpoint_interval": 10,
            "warmup": 2,
            "chunk_sizes": "1,4,8",
            **changes,
        }
    )


def session_of(text: Path, tmp_path: Path, **changes: Any) -> Session:
    return build_session(resolve(settings(text, tmp_path / "run", **changes)))


def silent() -> Console:
    return Console(io.StringIO())


def sha256(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def losses(run: Path) -> list[dict[str, Any]]:
    left_out = (
        "tokens_per_s",
        "elapsed_s",
        "rss_mb",
        "arena_bytes",
        "system_bytes",
        "system_allocations",
    )
    return [
        {k: v for k, v in m.items() if k not in left_out} for m in RunFolder(run).read_metrics()
    ]


@pytest.mark.parametrize("model", ["nested", "nested-state", "nested-surprise", "nested-original"])
def test_it_learns_and_writes(text: Path, tmp_path: Path, model: str) -> None:
    given = settings(text, tmp_path / "run", model=model, iters=60, lr=1e-2)
    done = train(given, console=silent())
    metrics = done.folder.read_metrics()
    assert done.exit_code == 0
    assert metrics[-1]["val_loss"] < metrics[0]["val_loss"] - (0.02 if "orig" in model else 0.5)
    last = metrics[-1]
    assert last["val_perplexity"] == pytest.approx(math.exp(last["val_loss"]))
    assert last["val_bits_per_character"] == pytest.approx(last["val_loss"] / math.log(2))
    persistent = model != "nested"
    assert (last["steps_since_reset"], last["total_resets"]) == ((60, 0) if persistent else (1, 60))
    assert last["level_updates"] == {"level1_fast": 60, "level2_medium": 15, "level3_slow": 7}
    # A text goes on from its own state, one token at a time as from all at once.
    model_back, tokenizer = load_run(done.folder.path)
    prompt = tokenizer.encode("the cat")
    written = list(sampling.generate(model_back, prompt, 20, temperature=0.0))
    with tt.no_grad(), model_back.nested.fresh_states():
        at_once = model_back(tt.tensor(np.array([[*prompt, *written]]))).numpy()[0].argmax(-1)
    assert written == at_once[len(prompt) - 1 : -1].tolist()


KINDS: dict[str, dict[str, Any]] = {
    "state": {},
    "dropout and two batches a step": {"dropout": 0.2, "gradient_accumulation_steps": 2},
    "detached, reset every 5": {"model": "nested-surprise", "reset": "5", "surprise_every": 2},
    "second order": {"model": "nested-surprise", "surprise": "second_order", "optimizer": "sgd"},
    "documents, chunks in tokens": {
        "reset": "document", "separator": "##", "chunk_unit": "tokens", "chunk_sizes": "1,100,333",
    },
    "memories, for a document": {
        "level_memory": "2,30", "reset": "document", "separator": "##",
    },
    "nested wiring": {"wiring": "nested", "model": "nested", "optimizer": "adam"},
    "sums of SGD": {"optimizer": "sgd", "level_update": "sum", "lr": 0.02},
    "the original": {"model": "nested-original"},
    "delta rule": {"optimizer": "delta_adam"},
    "descent with the layers' inputs": {"optimizer": "dgd", "lr": 0.01},
    "Muon and AdamW, two batches a step": {"optimizer": "muon", "gradient_accumulation_steps": 2},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_as_if_nothing_had_happened(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Also in the middle of a level's accumulation, of a step, and of an evaluation's interval."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    train(settings(text, whole, **KINDS[kind]), console=silent())
    stops = [2, 3, 9, 21]
    real = step_module.batch_losses

    def batch_losses(session: Session, number: int) -> Any:
        if stops and number == stops[0]:
            stops.pop(0)
            signal.raise_signal(signal.SIGTERM)
        return real(session, number)

    monkeypatch.setattr(step_module, "batch_losses", batch_losses)
    done = train(settings(text, out, **KINDS[kind]), console=silent())
    while done.stopped:
        checkpoint, _ = latest_checkpoint(done.folder.checkpoints)
        assert checkpoint is not None
        if KINDS[kind].get("wiring") != "nested":
            assert "model_state.level1_fast.h" in checkpoint.arrays
        remembers = KINDS[kind].get("level_memory", "off") != "off"
        norms = done.session.task.metrics().get("memory_norms", {})
        assert set(norms) == ({"level2_medium", "level3_slow"} if remembers else set())
        assert ("model_state.level3_slow.memory" in checkpoint.arrays) == remembers
        assert (
            any(name.startswith("gradient.") for name in checkpoint.arrays)
            == any(done.session.updates.state()["levels"]["pending"].values())
            or done.session.counters.micro_step
        )
        done = resume(RunFolder(out), {}, console=silent())
    assert not stops
    assert sha256(out) == sha256(whole)
    assert losses(out) == losses(whole)


def test_every_level_learns_at_its_pace(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path, chunk_sizes="1,2,4")
    names = dict(session.model.named_parameters())

    def values() -> dict[str, np.ndarray]:
        return {name: p.numpy() for name, p in names.items()}

    before = values()
    for step in range(1, 5):
        step_module.train_step(session, RunFolder(tmp_path), check_gradients=step == 1)
        after = values()
        changed = {name for name in names if not np.array_equal(before[name], after[name])}
        due = {"level2_medium": step % 2 == 0, "level3_slow": step % 4 == 0}
        for name in names:
            level = next((x for x in due if x in name), None)
            # A level that begins by adding nothing has no gradient before its last layer moved.
            asleep = (step == 2 and ".fc." in name) or ("norm" in name and step < 4)
            if not asleep and not (".level3_slow." in name and ".proj." not in name):
                assert (name in changed) == (level is None or due[level]), (step, name)
        before = after


def test_the_held_out_loss_carries_the_state(text: Path, tmp_path: Path) -> None:
    """Against one row read character by character, and without a trace in the training state."""
    session = session_of(text, tmp_path, dtype="float64")
    step_module.train_step(session, RunFolder(tmp_path))
    model, ids = session.model, session.splits.held_out
    before = session.snapshot().task[0].arrays()
    got = session.task.evaluate()
    after = session.snapshot().task[0].arrays()
    assert all(np.array_equal(after[name], x) for name, x in before.items())
    places = len(ids) - 1
    length = -(-places // EVALUATION_ROWS)
    total = 0.0
    model.eval()
    for first in range(0, places, length):
        part = ids[first : min(first + length, places) + 1].astype(np.int64)
        cache = model.new_cache(1)
        with tt.no_grad():
            for x, y in pairwise(part):
                logits = model(tt.tensor(np.array([[x]])), cache=cache)
                total += F.cross_entropy(logits[0], tt.tensor(np.array([y]))).item()
    assert got == pytest.approx(total / places, rel=1e-12)
    with model.nested.fresh_states():
        assert stream_loss(model, ids, 7) == pytest.approx(got, rel=1e-12)
    assert stream_loss(model, ids, 7, should_stop=lambda: True) is None


def test_documents_begin_without_a_state(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path, reset="document", separator="##", dtype="float64")
    streams = session.task.windows
    number = next(k for k in range(50) if streams.boundaries(k)[:, 1:].any() and k > 1)
    row, at = np.argwhere(streams.boundaries(number)[:, 1:])[0] + (0, 1)
    for k in range(number):
        session.task.losses(k)
    x, _ = streams.batch(number)
    with tt.no_grad():
        together, _ = session.model.read(tt.tensor(x), boundaries=streams.boundaries(number))
        alone, _ = session.model.read(tt.tensor(x[row : row + 1, at:]), reset_states=True)
    later = np.flatnonzero(streams.boundaries(number)[row, at + 1 :])
    stop = at + 1 + later[0] if len(later) else x.shape[1]
    np.testing.assert_allclose(
        together.numpy()[row, at:stop], alone.numpy()[0, : stop - at], rtol=1e-12, atol=1e-12
    )


def test_a_level_that_learns_nothing_is_named(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path, chunk_sizes="1,2,3")
    for parameter in session.model.nested.level3_slow.parameters():
        parameter.register_hook(lambda grad: grad * 0.0)
    for _ in range(2):
        step_module.train_step(session, RunFolder(tmp_path), check_gradients=True)
    with pytest.raises(MissingGradientError, match=r"level3_slow would learn nothing.*step 3"):
        step_module.train_step(session, RunFolder(tmp_path))


@pytest.mark.parametrize("part", ["embedding", "head", "level2_medium"])
def test_every_part_of_a_level_learns(text: Path, tmp_path: Path, part: str) -> None:
    session = session_of(text, tmp_path, chunk_sizes="1,1,1")
    for name, parameter in session.model.named_parameters():
        if part in name.split("."):
            parameter.register_hook(lambda grad: grad * 0.0)
    with pytest.raises(MissingGradientError, match=rf"{part} would learn nothing.*step 1"):
        step_module.train_step(session, RunFolder(tmp_path))


def test_levels_note_nothing_where_no_surprise_is_due(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(text, tmp_path, model="nested-surprise", surprise_every=3)
    read, asked = session.model.read, []

    def spy(*args: Any, compute_surprise: bool | str, **options: Any) -> Any:
        asked.append(compute_surprise)
        return read(*args, compute_surprise=compute_surprise, **options)

    monkeypatch.setattr(session.model, "read", spy)
    for number in range(6):
        objective, loss = session.task.losses(number)
        assert (objective is not loss and objective.item() > loss.item()) == asked[-1]
    assert asked == [False, False, True] * 2


def test_the_header_counts_the_documents(text: Path, tmp_path: Path) -> None:
    folder, given = RunFolder(tmp_path), text.read_text()
    said = [
        line
        for separator in ("##", "nowhere")
        for line in header(
            session_of(text, tmp_path, reset="document", separator=separator), folder, None
        )
        if line.startswith("documents")
    ]
    assert said == [
        f"documents  {given.count('##')} begin after '##', and one with the text",
        "documents  0 begin after 'nowhere', and one with the text",
    ]


@pytest.mark.parametrize("batches", [1, 2])
def test_states_begin_anew_every_n_steps(text: Path, tmp_path: Path, batches: int) -> None:
    session = session_of(text, tmp_path, reset="3", gradient_accumulation_steps=batches)
    since = []
    for _ in range(7):
        step_module.train_step(session, RunFolder(tmp_path))
        since.append(session.task.metrics()["steps_since_reset"])
    assert since == [batches * n for n in (1, 2, 3, 1, 2, 3, 1)]


def test_a_step_that_is_left_out_leaves_no_trace_in_the_state(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(text, tmp_path, skip_nonfinite=1)
    folder = RunFolder(tmp_path)
    step_module.train_step(session, folder)
    before = session.snapshot().task[0].arrays()
    weights = {name: x.numpy() for name, x in session.weights().items()}
    real = step_module.batch_losses
    monkeypatch.setattr(
        step_module,
        "batch_losses",
        lambda s, n: (lambda pair: (pair[0] * math.nan, pair[1]))(real(s, n)),
    )
    said: list[str] = []
    assert step_module.train_step(session, folder, note=said.append) is None
    monkeypatch.undo()
    assert "the step was left out" in said[0] and session.counters.step == 2
    after = session.snapshot().task[0].arrays()
    assert all(np.array_equal(after[name], x) for name, x in before.items())
    assert all(np.array_equal(x.numpy(), weights[n]) for n, x in session.weights().items())
    assert math.isfinite(step_module.train_step(session, folder) or math.nan)


def test_a_stop_inside_a_step_that_is_left_out_changes_nothing(text: Path, tmp_path: Path) -> None:
    states = []
    for stops in (False, True):
        session = session_of(text, tmp_path, skip_nonfinite=1, gradient_accumulation_steps=3)
        session.model.head.bias.register_hook(lambda grad: grad * math.inf)
        answers = iter([stops, *[False] * 9])
        step = functools.partial(
            step_module.train_step,
            session,
            RunFolder(tmp_path),
            should_stop=lambda answers=answers: next(answers),
        )
        assert step() is None and session.counters.step == (0 if stops else 1)
        if stops:
            assert step() is None
        assert (session.counters.step, session.counters.skipped) == (1, 1)
        states.append(session.snapshot().task[0].arrays())
    once, stopped = states
    assert all(np.array_equal(stopped[name], x) for name, x in once.items())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--reset", "sometimes"], "reset: expected never, document or a number of steps"),
        (["--model", "nested", "--reset", "3"], "reset: the states of model 'nested' last for one"),
        (["--optimizer", "dgd", "--weight-decay", "0.1"], "weight_decay: dgd has none, got 0.1"),
        (["--chunk-sizes", "1,2"], "--chunk-sizes: expected three numbers of at least 1"),
        (["--chunk-sizes", "0,2,4"], "--chunk-sizes: expected three numbers of at least 1"),
        (["--level-memory", "16"], "--level-memory: expected off, or two numbers of batches abov"),
        (["--level-memory", "0,16"], "--level-memory: expected off, or two numbers of batches"),
        (["--model", "nested", "--level-memory", "4,16"], "level_memory: model 'nested' forgets"),
        (["--level-memory", "4,inf"], "--level-memory: expected off, or two numbers of batches"),
        (["--chunk-sizes", "1,4," + "9" * 5000], "--chunk-sizes: expected three numbers of at"),
        (["--reset", "9" * 5000], "reset: expected never, document or a number of steps, got '999"),
        (["--surprise-weights", "0.3,0.1"], "surprise_weights: there is no surprise loss, got 0.3"),
        (["--surprise-every", "2"], "surprise_every: there is no surprise loss"),
        (["--separator", "##"], "separator: documents end nothing with --reset never"),
        (["--muon-momentum", "0.9"], "muon_momentum: a setting of muon, got 0.9 for adamw"),
        (["--surprise", "teach", "--surprise-weights", "0.1,x"], "surprise-weights: expected one"),
        (["--batch-size", "2700"], "batch_size: 2700 rows cannot begin at different places of a"),
        (["--separator", ""], "separator: expected some text, got none"),
        (["--model", "tiny", "--reset", "4"], "reset: a setting of nested models, got '4'"),
    ],
)
def test_wrong_settings_are_named(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    known = ["--model", "nested-state", "--data", str(text), "--out", str(tmp_path / "run")]
    try:
        code: object = train_command.main([*known, *flags])
    except SystemExit as error:  # what the parser finds
        code = error.code
    assert code == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_pace(text: Path, tmp_path: Path) -> None:
    train(settings(text, tmp_path / "run", iters=8), console=silent())
    with pytest.raises(ConfigError, match="cannot resume with another chunk_sizes"):
        resume(RunFolder(tmp_path / "run"), {"chunk_sizes": "1,1,1"}, console=silent())


def test_a_checkpoint_whose_state_does_not_fit_is_damaged(text: Path, tmp_path: Path) -> None:
    done = train(settings(text, tmp_path / "run", iters=8), console=silent())
    path = list_checkpoints(done.folder.checkpoints)[0]
    assert [saved.problem for saved in verify(path)] == [None]
    saved = load_checkpoint(path)
    short = {**saved.arrays, "model_state.level1_fast.c": np.zeros((1, 3, 5), np.float32)}
    save_checkpoint(
        path.parent,
        saved.step,
        model=saved.model,
        arrays=short,
        state=saved.state,
        config=saved.config,
        env=saved.env,
    )
    (problem,) = [saved.problem for saved in verify(path)]
    assert problem is not None and "level1_fast.c: expected floats of shape (1, 3, 24)" in problem


def test_parameters_are_counted_before_they_are_made(text: Path, tmp_path: Path) -> None:
    for changes in ({}, {"medium_memory": 4.0, "mix": "learned", "wiring": "independent"}):
        for preset in models.nested.PRESETS.values():
            config = models.NestedConfig(vocab_size=11, **{**preset, **changes})
            model = models.NestedLM(config)
            found = list(model.parameters())
            assert config.count_parameters() == (len(found), sum(p.numel() for p in found))
            assert models.from_config(config.to_dict()).config == config


def test_memories_have_the_time_constants_that_were_asked_for(text: Path, tmp_path: Path) -> None:
    config = session_of(text, tmp_path, level_memory="2,30").model.config
    assert (config.medium_memory, config.slow_memory) == (2.0, 30.0)


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_memory_counts_in_windows_however_many_tokens_are_read(tokens: int) -> None:
    """The level gives zeros here, so that its memory only fades."""
    config = models.NestedConfig(vocab_size=5, context=4, width=3, hidden=3, medium_memory=2.0)
    model = models.NestedLM(config, dtype=tt.float64)
    for weight in model.nested.level2_medium.proj.parameters():
        weight.detach().zero_()
    model(tt.tensor(np.zeros((1, tokens), np.int64)))
    arrays = model.nested.state_arrays()
    arrays["level2_medium.memory"] = np.ones((1, 3))
    model.nested.load_state_arrays(arrays)
    model(tt.tensor(np.zeros((1, tokens), np.int64)))
    faded = model.nested.state_arrays()["level2_medium.memory"]
    np.testing.assert_allclose(faded, np.exp(-tokens / (4 * 2.0)), rtol=1e-12)


def test_gradients_that_wait_are_planned_once(text: Path, tmp_path: Path) -> None:
    session = session_of(text, tmp_path)
    values = sum(p.numel() for p in session.model.parameters())
    for _ in range(3):
        assert planned_memory(session)["optimiser"] == 2 * 4 * values
        step_module.train_step(session, RunFolder(tmp_path))


def test_the_original_has_its_number_of_parameters() -> None:
    config = models.NestedConfig(vocab_size=283, context=512, width=256, hidden=512)
    assert config.count_parameters()[1] == 1_197_339
