"""A run so small that it can be broken a million times: a GPT of a few hundred weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.numpy

from tinytape import models
from tinytape.training import TrainConfig, resolve
from tinytape.training.checkpoint import save_checkpoint
from tinytape.training.environment import environment
from tinytape.training.final_weights import save_final_weights
from tinytape.training.json_records import pack_json
from tinytape.training.manifest import FORMAT, MANIFEST, VERSION
from tinytape.training.run_folder import RunFolder
from tinytape.training.session import Session, build_session
from tinytape.training.step import train_step

TEXT = "abacabadabacaba\n" * 4
SIZES = {"context": 4, "width": 4, "heads": 2, "layers": 1}


def session_of(folder: Path) -> Session:
    """A new session of the miniature; its text lies in ``folder``."""
    text = folder / "abacaba.txt"
    text.write_text(TEXT)
    config = TrainConfig(
        model="miniature",
        data=str(text),
        iters=100,
        batch_size=1,
        lr=0.01,
        dropout=0.1,
        gradient_accumulation_steps=2,
    )
    with mock.patch.dict(models.gpt.PRESETS, {"miniature": SIZES}):
        return build_session(resolve(config))


def write_run(folder: Path, steps: tuple[int, ...] = (1, 2)) -> Session:
    """Write a run folder with a checkpoint of each of these steps, and final weights.

    Each checkpoint is of the middle of a step, so that there are gradients in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    session, run = session_of(folder), RunFolder(folder)
    session.tokenizer.save(run.tokenizer)
    run.write_config(session.record())
    for step in range(1, max(steps) + 1):
        train_step(session, run)
        if step in steps:
            train_step(session, run, should_stop=lambda: True)
            state, arrays = session.state()
            save_checkpoint(
                run.checkpoints,
                step,
                model=session.weights(),
                arrays=arrays,
                state=state,
                config=session.record(),
                env=environment(),
                tokenizer=session.tokenizer,
            )
    save_final_weights(
        run.model,
        session.weights(),
        step=session.counters.step,
        model=session.model.config.to_dict(),
        tokenizer=session.tokenizer,
    )
    return session


def manifest_of(files: dict[str, bytes], step: int) -> bytes:
    """A manifest that fits these contents, whatever they are."""
    entries: dict[str, Any] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return pack_json({"format": FORMAT, "version": VERSION, "step": step, "files": entries})


def forge(path: Path, **changes: Any) -> None:
    """Give a checkpoint other content, which no writer of ours would write, and seal it.

    Args:
        changes: ``model`` and ``arrays``, arrays by name; ``state``, ``config`` and ``env``.
    """
    for part, content in changes.items():
        if part in ("model", "arrays"):
            name = {"model": "model", "arrays": "train_state"}[part]
            (path / f"{name}.safetensors").write_bytes(safetensors.numpy.save(content))
        else:
            (path / f"{part}.json").write_bytes(pack_json(content))
    seal(path)


def seal(path: Path) -> None:
    """Give a checkpoint folder that was tampered with a manifest that fits."""
    files = {p.name: p.read_bytes() for p in path.iterdir() if p.name != MANIFEST}
    step = json.loads(files["state.json"])["step"] if not path.name.startswith("step-") else None
    (path / MANIFEST).write_bytes(manifest_of(files, step or int(path.name.split("-")[1])))
