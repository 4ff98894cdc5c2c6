"""A corpus in parts: which are taken, what is said of it, and that a run keeps to them."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytape.data import (
    KNOWN_CORPORA,
    CharTokenizer,
    DataError,
    KnownCorpus,
    KnownFile,
    corpora,
    load_corpus,
    locations,
    split_corpus,
)
from tinytape.training import ConfigError, RunFolder, TrainConfig, loop, resume, train
from tinytape.training.checkpoint import load_checkpoint
from tinytape.training.progress import Console
from tinytape.training.session import Session

NAME = "wikitext-2"
TEXTS = {
    "train": " = Homarus = \n The lobster is <unk> . \n" * 30,
    "valid": " = Vålerenga = \n A club of Oslo ; <unk> . \n" * 20,
    "test": " = Robert = \n An actor , it says here . \n" * 25,
}


def known_at(address: str) -> KnownCorpus:
    files = {
        f"{part}.txt": KnownFile(len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
        for part, text in TEXTS.items()
    }
    return KnownCorpus(NAME, address, files)


@pytest.fixture(autouse=True)
def small_wikitext(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TEXTS for WikiText-2."""
    monkeypatch.setitem(corpora.KNOWN_CORPORA, NAME, known_at("http://corpus.invalid/wiki"))


def put(folder: Path, *parts: str, names: str = "{}.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        (folder / names.format(part)).write_bytes(TEXTS[part].encode())
    return folder


@pytest.mark.parametrize("names", ["{}.txt", "wiki.{}.tokens"])
@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (("train", "valid", "test"), "the test text is not read"),
        (("train", "valid"), "the test text is not read"),
        (("valid", "test"), "its training text is not at hand"),
        (("train", "test"), "its validation text is not at hand"),
    ],
)
def test_the_first_two_parts_are_taken(
    parts: tuple[str, ...], why: str, by_path: bool, names: str
) -> None:
    folder = put(Path("data") / NAME, *parts, names=names)
    corpus = load_corpus(folder if by_path else NAME)
    first, second = (TEXTS[part] for part in parts[:2])
    assert corpus.text == first + second and corpus.cut == len(first)
    assert corpus.sha256 == hashlib.sha256((first + second).encode()).hexdigest()
    assert (corpus.name, corpus.path) == (NAME, folder)
    files = tuple(names.format(part) for part in parts[:2])
    assert corpus.parts == files
    assert corpus.notice is not None and "\n" not in corpus.notice
    assert f"training on {files[0]}, {files[1]} is held out" in corpus.notice
    assert why in corpus.notice
    # Where to get what is missing is known of a known corpus alone.
    missing = not by_path and "train" not in parts
    assert ("it is at http://corpus.invalid/wiki/train.txt" in corpus.notice) == missing

    tokenizer = CharTokenizer.from_text(corpus.text)
    splits = split_corpus(corpus, tokenizer, context=8)
    assert tokenizer.decode(splits.train) == first
    assert tokenizer.decode(splits.held_out) == second


def test_the_test_text_is_not_read_where_there_is_a_training_text() -> None:
    folder = put(Path("data") / NAME, "train", "valid", "test")
    (folder / "test.txt").write_bytes(b"\xff not UTF-8, and not the one expected")
    assert load_corpus(NAME).text == TEXTS["train"] + TEXTS["valid"]


@pytest.mark.parametrize("part", ["valid", "test"])
def test_each_part_is_verified(part: str) -> None:
    folder = put(Path("data") / NAME, "valid", "test")
    (folder / f"{part}.txt").write_text(TEXTS[part] + " ")
    with pytest.raises(DataError, match=rf"{part}\.txt: this is not the corpus 'wikitext-2'"):
        load_corpus(NAME)
    assert load_corpus(f"./data/{NAME}").name == NAME  # by its path it is the user's own


def test_a_part_alone_is_not_the_corpus() -> None:
    """Least of all the input.txt of somebody, which nothing could be compared with."""
    (put(Path("data") / NAME, "train") / "input.txt").write_text("something")
    place = put(Path("..") / "shared" / "data" / NAME, "valid", "test")
    assert load_corpus(NAME).path == place


def test_of_a_folder_of_the_user_input_comes_first_and_one_part_is_a_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = put(Path("mine"), "train")
    corpus = load_corpus("./mine")
    assert (corpus.path, corpus.cut, corpus.notice) == (folder / "train.txt", None, None)
    put(folder, "valid")
    assert load_corpus("./mine").cut == len(TEXTS["train"])
    (folder / "notes.txt").write_text("not a part")
    assert load_corpus("./mine").cut == len(TEXTS["train"])
    with monkeypatch.context() as inside:
        inside.chdir(folder)
        assert (load_corpus(".").cut, load_corpus(".").name) == (len(TEXTS["train"]), "mine")
    (folder / "input.txt").write_text("all of it")
    assert load_corpus("./mine").text == "all of it"
    (folder / "input.txt").unlink()
    (folder / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"holds 2 texts.*notes\.txt or --data .*train\.txt"):
        load_corpus("./mine")


def test_a_corpus_that_is_not_in_parts_has_none() -> None:
    """Or any two files beside the default corpus could stand for it, unverified."""
    put(Path("data") / "shakespeare", "train", "valid")
    with pytest.raises(DataError, match="2 texts"):
        load_corpus("shakespeare")


def test_without_a_text_and_without_network_the_error_says_where_it_should_be() -> None:
    with pytest.raises(DataError) as error:
        load_corpus(NAME)
    for words in (
        *(str(folder) for folder in corpora.search_folders()),
        "http://corpus.invalid/wiki/train.txt does not answer (planted: no network)",
        f"put the text at data/{NAME}/train.txt and data/{NAME}/valid.txt",
    ):
        assert words in str(error.value)


class Server(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        text = TEXTS.get(Path(self.path).stem, "").encode()
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> Iterator[list[str]]:
    """A server that has the corpus, and what was asked of it."""
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (nowhere / "served").mkdir()
    monkeypatch.chdir(nowhere / "served")
    monkeypatch.delenv("TINYTAPE_DATA", raising=False)
    monkeypatch.setattr(locations, "cache_folder", lambda: nowhere / "cache")
    Server.asked = []
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/wiki"
        monkeypatch.setitem(KNOWN_CORPORA, NAME, known_at(address))
        yield Server.asked
        server.shutdown()


def test_what_a_run_reads_is_downloaded_once(asked: list[str], nowhere: Path) -> None:
    first = load_corpus(NAME)
    folder = nowhere / "cache" / NAME
    assert asked == ["/wiki/train.txt", "/wiki/valid.txt"]
    assert sorted(p.name for p in folder.iterdir()) == ["train.txt", "valid.txt"]
    assert first.path == folder and first.cut == len(TEXTS["train"])
    assert first.notice is not None
    assert "training on train.txt, valid.txt is held out; the test text" in first.notice
    assert "downloaded from http://127.0.0.1" in first.notice
    second = load_corpus(NAME)
    assert (second.text, second.sha256, second.cut) == (first.text, first.sha256, first.cut)
    assert len(asked) == 2


def test_a_download_is_kept_only_when_all_of_it_is_right(
    asked: list[str], nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TEXTS, "valid", TEXTS["valid"].replace("club", "clue"))
    with pytest.raises(DataError, match=r"http://127.*/wiki/valid\.txt: this is not the corpus"):
        load_corpus(NAME)
    monkeypatch.setitem(TEXTS, "valid", "")
    with pytest.raises(DataError, match="404"):
        load_corpus(NAME)
    assert not (nowhere / "cache").exists()


def test_half_a_download_in_the_cache_is_completed(asked: list[str], nowhere: Path) -> None:
    """As a kill between the two files leaves it."""
    put(nowhere / "cache" / NAME, "train")
    assert load_corpus(NAME).cut == len(TEXTS["train"])
    assert (nowhere / "cache" / NAME / "valid.txt").is_file()


@pytest.mark.parametrize(("train_on", "held_out"), [(8, 100), (100, 1), (8, 1)])
def test_parts_that_are_too_short_are_named(train_on: int, held_out: int) -> None:
    folder = put(Path("mine"))
    (folder / "train.txt").write_text("a" * train_on)
    (folder / "valid.txt").write_text("b" * held_out)
    corpus = load_corpus("./mine")
    said = f"mine: {train_on} characters to train on and {held_out} held out are too few"
    with pytest.raises(DataError, match=f"{said}; at least 9 and 2 are needed .context 8"):
        split_corpus(corpus, CharTokenizer("ab"), context=8)


def test_parts_of_the_least_length_will_do() -> None:
    folder = put(Path("mine"))
    (folder / "train.txt").write_text("a" * 9)
    (folder / "valid.txt").write_text("bb")
    splits = split_corpus(load_corpus("./mine"), CharTokenizer("ab"), context=8)
    assert splits.train.tolist() == [0] * 9 and splits.held_out.tolist() == [1, 1]


def settings(**changes: object) -> TrainConfig:
    given = {
        "model": "nested-state",
        "data": NAME,
        "out": "run",
        "iters": 6,
        "batch_size": 2,
        "context": 8,
        "eval_interval": 3,
        "checkpoint_interval": 3,
        "reset": "document",
        "separator": " = \n",
    }
    return TrainConfig(**{**given, **changes})


def test_a_run_says_what_it_reads_and_resumes_with_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = put(Path("data") / NAME, "valid", "test")
    output = io.StringIO()
    whole = train(settings(), console=Console(output))
    said = output.getvalue()
    valid, test = TEXTS["valid"], TEXTS["test"]
    assert said.startswith("wikitext-2: training on valid.txt, test.txt is held out, because")
    assert f"{len(valid):,} to train on, {len(test):,} held out" in said
    record = json.loads(RunFolder("run").config.read_text())
    assert record["corpus"]["cut"] == len(valid)
    assert record["corpus"]["parts"] == ["valid.txt", "test.txt"]

    # Stopped in the middle and resumed, it comes out as it did.
    real = loop.train_step

    def stop(session: Session, *rest: Any, **options: Any) -> float | None:
        if session.counters.step == 3:
            raise KeyboardInterrupt
        return real(session, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings(out="halves"), console=Console(io.StringIO()))
    saved = RunFolder("halves").checkpoints / "step-00000003"
    assert load_checkpoint(saved).state["data"]["cut"] == len(valid)
    shutil.copytree("halves", "moved")
    shutil.copytree("halves", "changed")
    resumed = resume(RunFolder("halves"), {}, console=Console(io.StringIO()))
    for name, weight in resumed.session.model.state_dict().items():
        expected = whole.session.model.state_dict()[name].numpy()
        assert np.array_equal(weight.numpy(), expected), name

    # The same characters with the boundary one further on.
    own = put(Path("own"))
    (own / "valid.txt").write_text(valid + test[0])
    (own / "test.txt").write_text(test[1:])
    at = len(valid)
    with pytest.raises(ConfigError, match=f"cut after {at} char.*cut after {at + 1} char"):
        resume(RunFolder("moved"), {"data": "./own"}, console=Console(io.StringIO()))
    # The same characters without a boundary.
    Path("joined.txt").write_text(valid + test)
    with pytest.raises(ConfigError, match=f"cut after {at} characters, and --data joined.txt is"):
        resume(RunFolder("moved"), {"data": "joined.txt"}, console=Console(io.StringIO()))
    # The training text has come.
    put(folder, "train")
    with pytest.raises(ConfigError, match="cannot resume with another text"):
        resume(RunFolder("changed"), {}, console=Console(io.StringIO()))
