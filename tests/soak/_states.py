"""What a run may find in its folder: runs in every state, other people's folders, mixtures.

Each state is a function that changes the folder of a complete run into that state. It makes files
that are not in the run folder beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tinytape.training import RunFolder
from tinytape.training.checkpoint import list_checkpoints

STATES: dict[str, Callable[[RunFolder], None]] = {}


def state(words: str) -> Callable[[Callable[[RunFolder], None]], Callable[[RunFolder], None]]:
    def add(make: Callable[[RunFolder], None]) -> Callable[[RunFolder], None]:
        STATES[words] = make
        return make

    return add


def steps(folder: RunFolder) -> list[Path]:
    """The newest first."""
    return list_checkpoints(folder.checkpoints)


def damage(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def clear(folder: RunFolder, *kept: str) -> None:
    """Remove all but these."""
    for path in folder.path.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def link_away(path: Path) -> Path:
    """Move a folder or file to another place and leave a link."""
    place = path.parent.parent / "disk" / path.name
    place.parent.mkdir(exist_ok=True)
    path.rename(place)
    path.symlink_to(place)
    return place


def only_first_lines(folder: RunFolder, count: int) -> None:
    folder.metrics.write_text("".join(folder.metrics.read_text().splitlines(True)[:count]))


@state("complete")
def _(folder: RunFolder) -> None:
    pass


@state("stopped")
def _(folder: RunFolder) -> None:
    folder.model.unlink()


@state("not there")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.path)


@state("an empty folder")
def _(folder: RunFolder) -> None:
    clear(folder)


@state("an empty folder with a link to an empty disk")
def _(folder: RunFolder) -> None:
    clear(folder)
    folder.checkpoints.mkdir()
    link_away(folder.checkpoints)


@state("settings alone")
def _(folder: RunFolder) -> None:
    clear(folder, "config.json")


@state("settings and characters")
def _(folder: RunFolder) -> None:
    clear(folder, "config.json", "tokenizer.json")


@state("killed after the first evaluation")
def _(folder: RunFolder) -> None:
    clear(folder, "config.json", "tokenizer.json", "metrics.jsonl")
    only_first_lines(folder, 1)


@state("killed before the first checkpoint, the best is there")
def _(folder: RunFolder) -> None:
    first = steps(folder)[-1]
    clear(folder, "config.json", "tokenizer.json", "metrics.jsonl", "checkpoints")
    folder.best.mkdir()
    first.rename(folder.best / first.name)
    shutil.rmtree(folder.checkpoints)
    only_first_lines(folder, 1)


@state("checkpoints emptied")
def _(folder: RunFolder) -> None:
    for path in steps(folder):
        shutil.rmtree(path)


@state("checkpoints emptied, and no best")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.best)
    for path in steps(folder):
        shutil.rmtree(path)


@state("checkpoints removed, the best of before the end")
def _(folder: RunFolder) -> None:
    older = steps(folder)[2]
    shutil.rmtree(folder.best)
    folder.best.mkdir()
    older.rename(folder.best / older.name)
    shutil.rmtree(folder.checkpoints)


@state("only metrics left")
def _(folder: RunFolder) -> None:
    clear(folder, "config.json", "tokenizer.json", "metrics.jsonl")


@state("only final weights left")
def _(folder: RunFolder) -> None:
    clear(folder, "config.json", "tokenizer.json", "model.safetensors")


@state("all steps renamed")
def _(folder: RunFolder) -> None:
    for path in steps(folder):
        path.rename(path.with_name(f"saved {path.name}"))


@state("the newest step renamed")
def _(folder: RunFolder) -> None:
    steps(folder)[0].rename(folder.checkpoints / "backup")


@state("steps moved into a folder of checkpoints")
def _(folder: RunFolder) -> None:
    (folder.checkpoints / "old").mkdir()
    for path in steps(folder):
        path.rename(folder.checkpoints / "old" / path.name)


@state("checkpoints renamed")
def _(folder: RunFolder) -> None:
    folder.checkpoints.rename(folder.path / "my checkpoints")


@state("checkpoints on another disk")
def _(folder: RunFolder) -> None:
    link_away(folder.checkpoints)


@state("best on another disk")
def _(folder: RunFolder) -> None:
    link_away(folder.best)


@state("both on another disk")
def _(folder: RunFolder) -> None:
    link_away(folder.checkpoints)
    link_away(folder.best)


@state("checkpoints on a disk that is not there")
def _(folder: RunFolder) -> None:
    link_away(folder.checkpoints).rename(folder.path.parent / "unmounted")


@state("best on a disk that is not there")
def _(folder: RunFolder) -> None:
    link_away(folder.best).rename(folder.path.parent / "unmounted")


@state("a step on a disk that is not there")
def _(folder: RunFolder) -> None:
    newest = steps(folder)[0]
    for path in steps(folder)[1:]:
        shutil.rmtree(path)
    newest.rename(folder.path.parent / "unmounted")
    newest.symlink_to(folder.path.parent / "disk" / newest.name)


@state("steps that are links")
def _(folder: RunFolder) -> None:
    for path in steps(folder):
        place = folder.path.parent / "disk" / path.name
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        path.symlink_to(place)


@state("checkpoints are those of another run")
def _(folder: RunFolder) -> None:
    other = folder.path.parent / "other"
    shutil.copytree(folder.path, other)
    shutil.rmtree(folder.checkpoints)
    folder.checkpoints.symlink_to(other / "checkpoints")


@state("best and checkpoints are one folder")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.best)
    folder.best.symlink_to("checkpoints")


@state("checkpoints are a file")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.checkpoints)
    folder.checkpoints.write_text("mine")


@state("the newest checkpoint is damaged")
def _(folder: RunFolder) -> None:
    damage(steps(folder)[0])


@state("all checkpoints are damaged")
def _(folder: RunFolder) -> None:
    for path in steps(folder):
        damage(path)


@state("all checkpoints are damaged, and the best")
def _(folder: RunFolder) -> None:
    for path in [*steps(folder), *list_checkpoints(folder.best)]:
        damage(path)
