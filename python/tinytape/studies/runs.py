"""The runs of a study: each the training command in a process of its own, in a folder of its own.

A run that is complete is not run again, and one that was stopped continues from its checkpoint: so
a study can be stopped and started at any time. A run with other settings is refused.

>>> from pathlib import Path
>>> from tinytape.studies import STUDIES
>>> from tinytape.studies.runs import planned
>>> runs = planned(STUDIES["delta"], Path("out"), data="shakespeare", seeds=2, settings={})
>>> len(runs), runs[0].seed
(16, 1)
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._files import make_folder, read_file, replace_file
from ..data import load_corpus
from ..errors import TinytapeError
from ..models.spec import RANDOM, Study, Variant
from ..random import philox_u64
from ..training.config import SETTINGS, TrainConfig, flag
from ..training.defaults import resolve
from ..training.errors import RunError
from ..training.load import settings_of
from ..training.lock import held
from ..training.run_folder import RunFolder
from ..training.signals import StopSignals
from .child import how_it_ended, train_in_child

BATCH_SIZE = 32  # the default
RANDOM_CHARACTERS = 1_000_000
_ALPHABET = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,;:!?'\"\n-()"
_PATIENCE = 60.0  # seconds for the run of a study that was killed, to finish its step and save
_RANDOM_STREAM = int.from_bytes(b"random", "big")
_FIGURES = ("val_perplexity", "val_bits_per_character", "elapsed_s")  # of every evaluation
Text = tuple[str, int | None]  # its SHA-256, and its own cut


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
        settings: override those of the study and of its variants.
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
    stop: StopSignals | None = None,
) -> Iterator[tuple[Run, list[dict[str, Any]]]]:
    """Do the runs that are missing; yields each run with its metrics, when it is complete.

    When ``stop`` is requested, the current run saves, and no other one begins.

    Raises:
        StudyError: a run failed, or one that is there has other settings or another text; what is
            complete stays.
        OSError: a file cannot be read or written.
        KeyboardInterrupt: without ``stop``; the current run was interrupted, and has saved.
    """
    stop = stop or StopSignals()
    make_folder(out)
    if any(variant.text == RANDOM for variant in study.variants):
        _write_random_text(out / "random.txt")
    runs = planned(study, out, data=data, seeds=seeds, settings=settings)
    text_of = functools.cache(_text_of)
    for number, run in enumerate(runs, start=1):
        where = f"{number}/{len(runs)} {run.variant.label}, seed {run.seed}"
        metrics = _completed(run, where, text_of, say, stop)
        if stop.requested:
            return
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


def _completed(
    run: Run,
    where: str,
    text_of: Callable[..., Text],
    say: Callable[[str], None],
    stop: StopSignals,
) -> list[dict[str, Any]]:
    """Train as far as it is not done yet; the metrics. Less when ``stop`` is requested."""
    folder = RunFolder(run.folder)
    if not folder.model.is_file():
        _wait_for(folder, say, stop)
    begun = folder.config.is_file()
    if begun:
        _require_same(run, folder, text_of)
    if not folder.model.is_file() and not stop.requested:
        say(f"{where}: {'going on' if begun else 'training'} ...")
        _train(run, resumes=begun, stop=stop)
    metrics = folder.read_metrics()
    if not metrics and not stop.requested:
        raise StudyError(f"{folder}: there are weights and no evaluation; remove the folder")
    for name in _FIGURES:
        if not all(isinstance(m.get(name), int | float) for m in metrics):
            raise StudyError(f"{folder.metrics}: not what a run writes; {name} is not a number")
    return metrics


def _text_of(data: str, sha256: str | None = None) -> Text:
    corpus = load_corpus(data, sha256=sha256)
    return corpus.sha256, corpus.cut


def _write_random_text(path: Path) -> None:
    content = random_text().encode()
    if path.exists() and read_file(path, len(content)) != content:
        raise StudyError(f"{path} is not the text that a study reads; say --out for another folder")
    replace_file(path, content)


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


def _wait_for(folder: RunFolder, say: Callable[[str], None], stop: StopSignals) -> None:
    """Wait until no process trains there: a run saves after the study that began it was killed."""
    begun = time.monotonic()
    said = False
    while folder.path.is_dir() and stop.requested is None:
        try:
            with held(folder.path):
                return
        except RunError as error:
            if time.monotonic() - begun > _PATIENCE:
                raise StudyError(f"{error}; it is not a run that this study began") from error
        if not said:
            say(f"waiting for the training that is under way in {folder} ...")
            said = True
        time.sleep(0.1)


def _train(run: Run, *, resumes: bool, stop: StopSignals) -> None:
    if resumes:
        # The same text may be elsewhere now.
        flags = [f"--resume={run.folder}", f"--data={run.settings['data']}"]
    else:
        flags = [f"{flag(name)}={value}" for name, value in run.settings.items()]
        flags.append(f"--out={run.folder}")
    make_folder(run.folder.parent)
    log = run.folder.parent / f"{run.folder.name}.log"
    code = train_in_child(flags, log, stop)
    if code and stop.requested is None:
        raise StudyError(f"{run.folder}: {how_it_ended(code, log)} (see {log})")


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def processor() -> str:
    """The processor's name, where it is known, and the number of its cores."""
    name = "unknown processor"
    try:
        with open("/proc/cpuinfo") as file:
            name = next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} x {name}"
