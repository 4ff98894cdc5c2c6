"""Other people's folders, mixtures with runs, and what a kill leaves of an overwrite."""

from __future__ import annotations

import json
import shutil

from tinytape.training import RunFolder
from tinytape.training.replaced import set_aside

from ._states import STATES, clear, link_away, state, steps

__all__ = ["STATES"]  # of both


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
