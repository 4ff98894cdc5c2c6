"""What shapes the text of a model is verified, and a run is asked for its newest weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import tinytape as tt
from tinytape import checkpoint as command
from tinytape import generate, train
from tinytape.training import RunFolder, load_checkpoint, load_run
from tinytape.training.checkpoint import list_checkpoints
from tinytape.training.final_weights import about_final_weights, save_final_weights
from tinytape.training.json_records import pack_json
from tinytape.training.verify import verify

from ..soak._miniature import TEXT, forge, write_run

PROMPT = ["--prompt", "a", "--tokens", "20"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    write_run(folder, (1, 2))
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> RunFolder:
    """A run with checkpoints of steps 1 and 2, and final weights of step 2."""
    return RunFolder(shutil.copytree(made, tmp_path / "run"))


def text_of(capsys: pytest.CaptureFixture[str], path: Path) -> str:
    assert generate.main([str(path), *PROMPT]) == 0
    return capsys.readouterr().out


def verified(path: Path) -> bool:
    return command.main(["verify", str(path)]) == 0


def refused(capsys: pytest.CaptureFixture[str], run: RunFolder, words: str) -> None:
    """Both say so, and name the file."""
    capsys.readouterr()
    assert generate.main([str(run.path), *PROMPT]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "", captured
    assert not verified(run.path)
    bad = [x for x in capsys.readouterr().out.splitlines() if not x.startswith("good     ")]
    assert len(bad) >= 1 and any(words in line for line in bad), bad


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_every_flipped_bit_is_noticed(
    run: RunFolder, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.path / name
    data = path.read_bytes()
    random = np.random.default_rng(1)
    places = {*range(0, 12), *map(int, random.integers(0, len(data), 20)), len(data) - 1}
    assert verified(run.path)
    for at in sorted(place for place in places if place < len(data)):
        bit = 1 << int(random.integers(8))
        path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        assert not verified(run.path), (at, bit)
        assert generate.main([str(run.path), *PROMPT]) == 2, (at, bit)
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
    path.write_bytes(data)
    assert verified(run.path)


@pytest.mark.parametrize("with_checkpoints", [True, False], ids=["with checkpoints", "without"])
@pytest.mark.parametrize("form", ["edited", "without a digest"])
def test_heads_edited_by_hand(
    run: RunFolder, with_checkpoints: bool, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arrays would fit another number of heads, and give nonsense."""
    expected = text_of(capsys, run.path)
    record = json.loads(run.config.read_bytes())
    record["model"]["heads"] = 1
    if form != "edited":
        del record["sha256"]
    if not with_checkpoints:
        shutil.rmtree(run.checkpoints)
    run.config.write_text(json.dumps(record, indent=2))
    if form == "edited":
        refused(capsys, run, "config.json: damaged or edited by hand")
        assert [s.kind for s in verify(run.path) if s.problem] == ["config"]
    else:  # the weights say themselves of which model they are
        assert text_of(capsys, run.path) == expected
        assert verified(run.path) is not with_checkpoints
        assert ("heads is 1, expected 2" in capsys.readouterr().out) is with_checkpoints


def test_a_tokenizer_of_another_run(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """As many characters, others: without a check the text would be another language."""
    tt.data.CharTokenizer("\nxyzw").save(run.tokenizer)
    refused(capsys, run, "tokenizer.json: not ")
    run.model.unlink()  # the checkpoint is asked then
    refused(capsys, run, "tokenizer.json: not as it was written; ")
    run.tokenizer.unlink()
    refused(capsys, run, f"{run.checkpoints / 'step-00000002'} has a good copy")
    shutil.copyfile(run.checkpoints / "step-00000002" / "tokenizer.json", run.tokenizer)
    assert verified(run.path)


def test_weights_of_another_run(run: RunFolder, made: Path, tmp_path: Path) -> None:
    """Whole by themselves: what is wrong is that they lie here."""
    other = tmp_path / "other.safetensors"
    weights = load_checkpoint(made / "checkpoints" / "step-00000002").model
    model = run.read_config()["model"]
    characters = tt.data.CharTokenizer("\nxyzw")
    save_final_weights(other, weights, step=2, model=model, tokenizer=characters)
    shutil.copyfile(other, run.model)
    assert generate.main([str(run.path), *PROMPT]) == 2


def test_other_libraries_read_the_final_weights(run: RunFolder) -> None:
    weights = safetensors.numpy.load_file(run.model)
    newest = load_checkpoint(run.checkpoints / "step-00000002").model
    assert weights.keys() == newest.keys()
    with safetensors.safe_open(run.model, "numpy") as file:
        about = file.metadata()
    assert about["format"] == "tinytape" and about["step"] == "2"
    assert json.loads(about["model"]) == run.read_config()["model"]
    found = about_final_weights(run.model)
    assert found.step == 2 and found.model == json.loads(about["model"])


def test_what_an_earlier_version_wrote_is_taken(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights and a config without digests, and checkpoints without a tokenizer."""
    expected = text_of(capsys, run.path / "checkpoints" / "step-00000002")
    weights = safetensors.numpy.load_file(run.model)
    old = {"format": "tinytape"}
    run.model.write_bytes(safetensors.numpy.save({n: w * 0 for n, w in weights.items()}, old))
    run.config.write_bytes(pack_json(run.read_config()))
    for path in list_checkpoints(run.checkpoints):
        (path / "tokenizer.json").unlink()
        forge(path)
    assert verified(run.path)
    assert text_of(capsys, run.path).endswith(expected)  # those of the checkpoint, not of no step
    shutil.rmtree(run.checkpoints)
    assert text_of(capsys, run.path) != expected


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps that is to go on to 12 and was stopped after 8."""
    scratch = tmp_path_factory.mktemp("extended")
    (scratch / "text.txt").write_text(TEXT * 30)
    flags = ["--model", "tiny", "--batch-size", "1", "--schedule", "constant", "--lr", "0.05"]
    flags += ["--checkpoint-interval", "2", "--eval-interval", "100", "--keep", "9"]
    flags += ["--data", str(scratch / "text.txt"), "--out", str(scratch / "run")]
    assert train.main([*flags, "--iters", "4"]) == 0
    shutil.copyfile(scratch / "run" / "model.safetensors", scratch / "old.safetensors")
    assert train.main(["--resume", str(scratch / "run"), "--iters", "8"]) == 0
    shutil.copyfile(scratch / "old.safetensors", scratch / "run" / "model.safetensors")
    return scratch / "run"


def same(model: tt.nn.Module, checkpoint: Path) -> bool:
    weights = load_checkpoint(checkpoint).model
    return all(np.array_equal(t.numpy(), weights[name]) for name, t in model.state_dict().items())


def test_a_run_that_was_extended_is_not_answered_from_old_weights(
    extended: Path, tmp_path: Path
) -> None:
    run = RunFolder(shutil.copytree(extended, tmp_path / "run"))
    assert about_final_weights(run.model).step == 4
    assert same(load_run(run.path)[0], run.checkpoints / "step-00000008")
    (run.checkpoints / "step-00000008" / "state.json").unlink()
    assert same(load_run(run.path)[0], run.checkpoints / "step-00000006")
    for step in (8, 6, 4):
        shutil.rmtree(run.checkpoints / f"step-{step:08d}")
    weights = safetensors.numpy.load_file(run.model)  # newer than the checkpoint of step 2
    assert all(
        np.array_equal(t.numpy(), weights[name])
        for name, t in load_run(run.path)[0].state_dict().items()
    )


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_resume_does_not_go_on_over_an_edited_file(
    extended: Path, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what the error recommends is enough."""
    run = RunFolder(shutil.copytree(extended, tmp_path / "run"))
    text = (run.path / file).read_text().replace('"heads": 4', '"heads": 2').replace("ab", "xy")
    (run.path / file).write_text(text)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    assert train.main(["--resume", str(run.path)]) == 2
    assert str(run.path / file) in capsys.readouterr().err
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    shutil.copyfile(run.checkpoints / "step-00000008" / file, run.path / file)
    assert train.main(["--resume", str(run.path)]) == 0
    assert verified(run.path)


def test_a_run_that_was_killed_before_its_rotation(extended: Path, tmp_path: Path) -> None:
    """One checkpoint more than --keep is there, and goes when the run goes on, if only to its end.

    Damaged ones do not count, and stay until there are enough good ones.
    """
    run = RunFolder(shutil.copytree(extended, tmp_path / "run"))
    assert train.main(["--resume", str(run.path), "--keep", "2"]) == 0
    assert [p.name[-1] for p in list_checkpoints(run.checkpoints)] == ["8", "6"]


@pytest.mark.parametrize("name", ["step-00000002", "mine", "step-5"])
def test_a_checkpoint_alone_writes_and_is_verified(
    run: RunFolder,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = text_of(capsys, run.checkpoints / "step-00000002")
    alone = Path(shutil.copytree(run.checkpoints / "step-00000002", tmp_path / "usb" / name))
    run.path.rename(tmp_path / "gone")
    assert text_of(capsys, alone) == expected
    assert verified(alone) and command.main(["show", str(alone)]) == 0
    capsys.readouterr()
    monkeypatch.chdir(alone)
    assert text_of(capsys, Path(".")) == expected
    if name == "step-00000002":
        monkeypatch.chdir(alone.parent)
        assert text_of(capsys, Path(name)) == expected
    (alone / "tokenizer.json").write_bytes(b"{}")
    assert generate.main([str(alone), *PROMPT]) == 2 and not verified(alone)


def test_a_checkpoint_of_version_1_says_what_it_needs(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Path(shutil.copytree(run.checkpoints / "step-00000002", tmp_path / "usb" / "mine"))
    (alone / "tokenizer.json").unlink()
    forge(alone)
    assert generate.main([str(alone), *PROMPT]) == 2
    assert "a checkpoint of version 1 has no tokenizer of its own" in capsys.readouterr().err
