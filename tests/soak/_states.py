"""What can lie where a run is to be written: runs in every state, other people's folders, mixtures.

Each state is a function that is given the folder of a complete run and makes the state of it; what
lies outside of the run is made beside it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from tinytape.training import RunFolder
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.replaced import set_aside

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


@state("no settings")
def _(folder: RunFolder) -> None:
    folder.config.unlink()


@state("settings cut short")
def _(folder: RunFolder) -> None:
    folder.config.write_bytes(folder.config.read_bytes()[:-20])


@state("settings of a wrong type")
def _(folder: RunFolder) -> None:
    record = json.loads(folder.config.read_text())
    folder.config.write_text(json.dumps({**record, "train": []}))


@state("settings that are a folder")
def _(folder: RunFolder) -> None:
    folder.config.unlink()
    folder.config.mkdir()


@state("no characters")
def _(folder: RunFolder) -> None:
    folder.tokenizer.unlink()


@state("metrics with a damaged line")
def _(folder: RunFolder) -> None:
    lines = folder.metrics.read_text().splitlines(True)
    folder.metrics.write_text("".join([lines[0], "rubbish\n", *lines[1:]]))


@state("metrics cut short")
def _(folder: RunFolder) -> None:
    folder.metrics.write_bytes(folder.metrics.read_bytes() + b'{"step": 9, "val_')


@state("notes in it")
def _(folder: RunFolder) -> None:
    (folder.path / "notes.md").write_text("mine")
    (folder.path / ".tmp-notes-1").write_text("mine")
    (folder.checkpoints / "notes.md").write_text("mine")
    (folder.best / ".tmp-mine").write_text("mine")


@state("notes called as what is replaced")
def _(folder: RunFolder) -> None:
    (folder.path / "before-overwrite-1").mkdir()
    (folder.path / "before-overwrite-1" / "notes.md").write_text("mine")


@state("notes alone, called as what is replaced")
def _(folder: RunFolder) -> None:
    clear(folder)
    (folder.path / "before-overwrite-1").mkdir()
    (folder.path / "before-overwrite-1" / "notes.md").write_text("mine")


@state("settings removed by hand while another run is kept")
def _(folder: RunFolder) -> None:
    old = set_aside(folder)
    shutil.copytree(old, folder.path, dirs_exist_ok=True)
    folder.config.unlink()


@state("a model of GPT-2")
def _(folder: RunFolder) -> None:
    clear(folder, "model.safetensors", "tokenizer.json")
    folder.config.write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')


@state("a model of GPT-2 over a run")
def _(folder: RunFolder) -> None:
    folder.config.write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')


@state("somebody's checkpoints")
def _(folder: RunFolder) -> None:
    clear(folder)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "epoch-3.pt").write_text("precious")


@state("somebody's weights")
def _(folder: RunFolder) -> None:
    clear(folder, "model.safetensors")


@state("somebody's tokenizer")
def _(folder: RunFolder) -> None:
    clear(folder)
    folder.tokenizer.write_text("{}")


@state("somebody's metrics")
def _(folder: RunFolder) -> None:
    clear(folder, "metrics.jsonl")


@state("somebody's text")
def _(folder: RunFolder) -> None:
    clear(folder)
    (folder.path / "thesis.tex").write_text("precious")


@state("a checkpoint alone")
def _(folder: RunFolder) -> None:
    newest = steps(folder)[0].rename(folder.path.parent / "kept")
    clear(folder)
    newest.rename(folder.path / "step-00000004")


@state("inside of a checkpoint")
def _(folder: RunFolder) -> None:
    newest = steps(folder)[0].rename(folder.path.parent / "kept")
    shutil.rmtree(folder.path)
    newest.rename(folder.path)


@state("a link to a run")
def _(folder: RunFolder) -> None:
    place = folder.path.parent / "disk"
    folder.path.rename(place)
    folder.path.symlink_to(place)


@state("a link to nothing")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.path)
    folder.path.symlink_to(folder.path.parent / "disk" / "run")


@state("a file")
def _(folder: RunFolder) -> None:
    shutil.rmtree(folder.path)
    folder.path.write_text("precious")


for _name in ("config", "tokenizer", "metrics", "model", "curve"):

    @state(f"{_name} is a link")
    def _(folder: RunFolder, name: str = _name) -> None:
        file = getattr(folder, name)
        if not file.exists():
            file.write_text("a picture")
        link_away(file)


@state("half written files")
def _(folder: RunFolder) -> None:
    (folder.path / ".tmp-config.json-1").write_text("half")
    (folder.checkpoints / ".tmp-step-00000009-1").mkdir()
    (folder.best / ".tmp-step-00000009-1").mkdir()


@state("a start killed before its settings")
def _(folder: RunFolder) -> None:
    clear(folder)
    (folder.path / ".tmp-config.json-1").write_text("half")


@state("the newest checkpoint was being replaced")
def _(folder: RunFolder) -> None:
    newest = steps(folder)[0]
    newest.rename(newest.with_name(f".tmp-old-{newest.name}-77"))


@state("the newest checkpoint was being replaced, the settings are gone")
def _(folder: RunFolder) -> None:
    newest = steps(folder)[0].rename(folder.checkpoints / ".tmp-old-step-00000004-77")
    clear(folder, "checkpoints")
    for path in folder.checkpoints.iterdir():
        if path != newest:
            shutil.rmtree(path)


@state("an overwriting was killed as it began")
def _(folder: RunFolder) -> None:
    old = folder.path / "before-overwrite-1"
    old.mkdir()
    folder.config.rename(old / "config.json")
    folder.metrics.rename(old / "metrics.jsonl")


@state("an overwriting was killed before the new run")
def _(folder: RunFolder) -> None:
    set_aside(folder)


@state("an overwriting on two disks was killed before the new run")
def _(folder: RunFolder) -> None:
    link_away(folder.checkpoints)
    set_aside(folder)


@state("an overwriting was killed before its first checkpoint")
def _(folder: RunFolder) -> None:
    old = set_aside(folder)
    shutil.copy(old / "config.json", folder.config)


@state("an overwriting was killed after its first checkpoint")
def _(folder: RunFolder) -> None:
    old = set_aside(folder)
    shutil.copytree(old, folder.path, dirs_exist_ok=True)
