"""Short runs of the smallest model, and what must be true of a run folder at any moment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tinytape._files import TEMPORARY_PREFIX
from tinytape.training import CheckpointError, RunFolder, load_checkpoint
from tinytape.training.checkpoint import list_checkpoints, step_of
from tinytape.training.config import flag


def write_text(path: Path, characters: int = 1500) -> Path:
    """A text with some order in it."""
    words = ["cat", "sat", "on", "a", "mat;", "who", "knows", "why?", "nobody", "does.\n"]
    text, state = "the", 1
    while len(text) < characters:
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        text += " " + words[(state >> 16) % len(words)]
    path.write_text(text[:characters])
    return path


def flags(text: Path, out: Path, **settings: object) -> list[str]:
    """The flags of a run that takes a moment."""
    chosen = {"model": "tiny", "data": text, "out": out, "batch_size": 1, "threads": 1, **settings}
    return [word for name, value in chosen.items() for word in (flag(name), str(value))]


def again(text: Path, out: Path, **settings: object) -> list[str]:
    """The flags that go on with a run, or start it where nothing was begun."""
    first = flags(text, out, **settings)
    return [*first, "--resume", str(out)] if RunFolder(out).config.is_file() else first


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"


def held_out_losses(folder: RunFolder) -> list[tuple[int, float]]:
    return [(record["step"], record["val_loss"]) for record in folder.read_metrics()]


def leftovers(folder: RunFolder) -> list[Path]:
    """What a process that was killed left half written."""
    return [p for p in folder.path.rglob("*") if p.name.startswith(TEMPORARY_PREFIX)]


def newest_step(folder: RunFolder) -> int:
    """The step of the newest checkpoint, or -1; by name alone, as a bystander sees it."""
    return max(map(step_of, list_checkpoints(folder.checkpoints)), default=-1)


def steps_lost(folder: RunFolder) -> int:
    """How far the newest checkpoint is behind what is known to have been done."""
    done = max((step for step, _ in held_out_losses(folder)), default=0)
    return done - max(0, newest_step(folder))


def unreadable(folder: RunFolder) -> Iterator[str]:
    """Every file or folder under its final name that is not whole."""
    for scratch in (folder.checkpoints, folder.best):
        for path in scratch.iterdir() if scratch.is_dir() else ():
            if path.name.startswith(TEMPORARY_PREFIX):
                continue
            try:
                load_checkpoint(path)
            except CheckpointError as error:
                yield f"unreadable: {error}"
    for file in (folder.config, folder.tokenizer):
        if file.is_file():
            try:
                json.loads(file.read_bytes())
            except ValueError as error:
                yield f"unreadable: {file}: {error}"
    try:
        folder.read_metrics()
    except ValueError as error:
        yield f"unreadable: {error}"


def differences(folder: RunFolder, expected: RunFolder) -> Iterator[str]:
    """What a finished run has other than the run that nothing happened to."""
    if sha256(folder.model) != sha256(expected.model):
        yield f"other final weights: {sha256(folder.model)}"
    if held_out_losses(folder) != held_out_losses(expected):
        yield f"other metrics: {held_out_losses(folder)}"
    names, wanted = ({p.name for p in f.path.iterdir()} for f in (folder, expected))
    if names != wanted:
        yield f"other files: {sorted(names ^ wanted)}"
    for left in leftovers(folder):
        yield f"litter: {left}"
