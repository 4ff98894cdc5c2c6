"""The runs of a study: each the training command in a process of its own, in a folder of its own.

A run that is complete is not run again, and one that was stopped goes on from its checkpoint: so a
study can be stopped and started at will. One that was asked for otherwise is refused.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import make_folder, opened, replace_file
from ..data import load_corpus
from ..errors import TinytapeError
from ..random import philox_u64
from ..training.config import SETTINGS, TrainConfig, flag
from ..training.defaults import resolve
from ..training.load import settings_of
from ..training.run_folder import RunFolder
from .catalogue import RANDOM, Study, Variant

BATCH_SIZE = 32  # where nobody says another
RANDOM_CHARACTERS = 1_000_000
_ALPHABET = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?'\"\n-()"
_RANDOM_STREAM = int.from_bytes(b"random", "big")
Text = tuple[str, int | None]  # its SHA-256, and where it says that it is cut


class StudyError(TinytapeError, RuntimeError):
    """A run of a study that failed, or that is not of this study."""


@dataclass(frozen=True)
class Run:
    """One configuration with one seed."""

    variant: Variant
    seed: int
    folder: Path
    settings: dict[str, Any]


def planned(
    study: Study, out: Path, *, data: str, seeds: int, settings: dict[str, Any]
) -> list[Run]:
    """The runs of a study, seed by seed, so that a part of them is a smaller study.

    Args:
        data: the text of all variants that have none of their own.
        settings: beat those of the study and of its variants.
    """
    runs = []
    for seed in range(1, seeds + 1):
        for variant in study.variants:
            folder = out / "runs" / f"{_slug(variant.label)}-{seed}"
            text = str(out / "random.txt") if variant.text == RANDOM else data
            given = {
                "batch_size": BATCH_SIZE,
                **study.shared,
                **variant.settings,
                **settings,
                "data": text,
                "seed": seed,
            }
            if variant.longer > 1:
                given["context"] *= variant.longer
                given["batch_size"] = max(1, given["batch_size"] // variant.longer)
            runs.append(Run(variant, seed, folder, given))
    return runs


def run_study(
    study: Study,
    out: Path,
    *,
    data: str,
    seeds: int,
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> Iterator[tuple[Run, list[dict[str, Any]]]]:
    """Do the runs that are missing; yields each run with its metrics, when it is complete.

    Raises:
        StudyError: a run failed, or one that is there has other settings or another text; what is
            complete stays.
        KeyboardInterrupt: the run in hand was interrupted, and has saved.
    """
    make_folder(out)
    if any(variant.text == RANDOM for variant in study.variants):
        replace_file(out / "random.txt", random_text().encode())
    runs = planned(study, out, data=data, seeds=seeds, settings=settings)
    text_of = functools.cache(_text_of)
    for number, run in enumerate(runs, start=1):
        where = f"{number}/{len(runs)} {run.variant.label}, seed {run.seed}"
        folder = RunFolder(run.folder)
        begun = folder.config.is_file()
        if begun:
            _require_same(run, folder, text_of)
        if not folder.model.is_file():
            say(f"{where}: {'going on' if begun else 'training'} ...")
            _train(run, resumes=begun)
        metrics = folder.read_metrics()
        last = metrics[-1]
        say(
            f"{where}: held-out perplexity {last['val_perplexity']:.3f} after {last['step']:,} "
            f"steps, {last['elapsed_s']:.0f} s"
        )
        yield run, metrics


def random_text() -> str:
    """A million characters drawn uniformly from 65, the same every time."""
    draws = philox_u64(0, _RANDOM_STREAM, 0, RANDOM_CHARACTERS) % np.uint64(len(_ALPHABET))
    return "".join(map(_ALPHABET.__getitem__, draws.tolist()))


def _text_of(data: str, sha256: str | None = None) -> Text:
    corpus = load_corpus(data, sha256=sha256)
    return corpus.sha256, corpus.cut


def _require_same(run: Run, folder: RunFolder, text_of: Callable[..., Text]) -> None:
    """Raise StudyError unless the run that is there is the one that is asked for."""
    record = folder.read_config()
    old = settings_of(record, folder.config)
    new = resolve(TrainConfig(**run.settings))
    differ = []
    for name, option in SETTINGS.items():
        before, after = getattr(old, name), getattr(new, name)
        # The curves of a study have the same steps.
        matters = name == "eval_interval" or not option.metadata["may_change"]
        if matters and after not in (None, before):
            differ.append(f"{flag(name)} {before}, not {after}")
    fed = record.get("corpus", {})
    text = text_of(run.settings["data"], fed.get("sha256"))
    if (fed.get("sha256"), fed.get("cut")) != text:
        differ.append(f"another text than {run.settings['data']}")
    if differ:
        raise StudyError(
            f"{folder}: the run that is there has {', '.join(differ)}; say --out for another "
            f"folder, or remove it"
        )


def _train(run: Run, *, resumes: bool) -> None:
    command = [sys.executable, "-m", "tinytape.train"]
    if resumes:
        # The same text may be elsewhere now.
        command += ["--resume", str(run.folder), "--data", run.settings["data"]]
    else:
        for name, value in run.settings.items():
            command += [flag(name), str(value)]
        command += ["--out", str(run.folder)]
    make_folder(run.folder.parent)
    log = run.folder.parent / f"{run.folder.name}.log"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with opened(log, flags) as file:  # a link is not followed: it leads to nothing of ours
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE)
        try:
            errors = process.communicate()[1]
        except BaseException:  # also Ctrl-C, which the run has got too: it saves and leaves
            process.send_signal(signal.SIGTERM)
            process.communicate()
            raise
    if process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        raise KeyboardInterrupt
    if process.returncode:
        said = errors.decode(errors="replace").strip().splitlines()
        raise StudyError(f"{run.folder}: {said[-1] if said else 'failed'} (see {log})")


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def processor() -> str:
    """The processor's name, where it is known, and how many of them there are."""
    name = "unknown processor"
    try:
        with open("/proc/cpuinfo") as file:
            name = next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} x {name}"
