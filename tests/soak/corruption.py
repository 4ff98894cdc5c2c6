"""Every damage to a checkpoint is detected, and the previous checkpoint is used."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinytape.training import CheckpointError, TrainConfig, load_checkpoint, train
from tinytape.training.checkpoint import latest_checkpoint, verify_checkpoint
from tinytape.training.progress import Console

from .promise import Outcome, Promise

TEXT = "Full fathom five thy father lies;\nOf his bones are coral made;\n" * 12
KINDS = ("flip", "cut", "extend", "zero", "shift", "delete", "swap", "another")


def spoil(path: Path, names: list[str], random: np.random.Generator) -> str:
    """Do one damage to the folder, and say which."""
    kind = KINDS[int(random.integers(len(KINDS)))]
    name, other = random.choice(names, 2, replace=False)
    data = bytearray((path / name).read_bytes())
    at = int(random.integers(len(data)))
    if random.integers(4) == 0:  # the ends, where what is missing or added may look harmless
        at = [at % 16, len(data) - 1 - at % 16][int(random.integers(2))]
    length = 1 + min(int(random.geometric(0.01)), len(data) - at)
    if kind == "flip":
        bit = int(random.integers(8))
        data[at] ^= 1 << bit
        words = f"bit {bit} of byte {at} of {name}"
    elif kind == "cut":
        del data[at:]
        words = f"{name} cut to {at} bytes"
    elif kind == "extend":
        end = data[:length] if random.integers(2) else bytes(length)
        data += end
        words = f"{name} with {len(end)} bytes more"
    elif kind == "zero":
        if random.integers(4) == 0:
            at, length = 0, len(data)
        if not any(data[at : at + length]):
            data[at] = 1  # zeros already: this is no damage
        else:
            data[at : at + length] = bytes(len(data[at : at + length]))
        words = f"zeros in {name} from {at}, {length} bytes"
    elif kind == "shift":
        data.insert(at, b" \n\0"[int(random.integers(3))])
        words = f"a byte too many in {name} at {at}"
    elif kind == "delete":
        (path / name).unlink()
        return f"{name} is gone"
    elif kind == "swap":
        for source, target in ((name, "aside"), (other, name), ("aside", other)):
            (path / source).rename(path / target)
        return f"{name} and {other} swapped"
    else:  # the file of the checkpoint before, which is whole
        before = (path.parent / "step-00000001" / name).read_bytes()
        if before == data:
            del data[-1:]
        else:
            data[:] = before
        words = f"{name} of another checkpoint"
    (path / name).write_bytes(data)
    return words


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    outcome = Outcome(count)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="tinytape-soak-", dir=memory if memory.is_dir() else None
    ) as scratch:
        home = Path(scratch)
        (home / "text.txt").write_text(TEXT)
        train(
            TrainConfig(
                model="tiny",
                data=str(home / "text.txt"),
                out=str(home / "run"),
                iters=2,
                batch_size=1,
                checkpoint_interval=1,
            ),
            console=Console(io.StringIO()),
        )
        folder = home / "run" / "checkpoints"
        path, whole = folder / "step-00000002", home / "whole"
        shutil.copytree(path, whole)
        names = sorted(os.listdir(whole))
        for i in range(count):
            words = spoil(path, names, np.random.default_rng([seed, i]))
            for failure in missed(path):
                outcome.failures.append(f"try {i} of seed {seed}: {words}: {failure}")
            for name in names:
                shutil.copyfile(whole / name, path / name)
            if (i + 1) % 2000 == 0:
                say(f"{i + 1:,} of {count:,}")
        load_checkpoint(path)  # it was the damage, not the folder
    return outcome


def missed(path: Path) -> list[str]:
    """What did not notice that the newest checkpoint is damaged."""
    failures = []
    for check in (load_checkpoint, verify_checkpoint):
        try:
            check(path)
            failures.append(f"{check.__name__} did not notice")
        except CheckpointError as error:
            if str(path) not in str(error):
                failures.append(f"the error does not name the file: {error}")
    latest, problems = latest_checkpoint(path.parent)
    if latest is None or latest.step != 1 or len(problems) != 1:
        failures.append(f"the one before did not serve: {latest and latest.step}, {problems}")
    return failures


PROMISE = Promise(
    words="Corrupt checkpoints are detected",
    how="flip a bit; cut, extend, zero, shift, delete or swap files of a checkpoint",
    wanted="100 % detected, and the previous checkpoint is used",
    quick=300,
    full=10_000,
    run=run,
)
