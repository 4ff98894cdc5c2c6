"""Where a corpus is found, what is refused, and what happens when no network answers."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socketserver
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinytape.data import (
    DEFAULT_CORPUS,
    KNOWN_CORPORA,
    DataError,
    KnownFile,
    corpora,
    corpus_name,
    load_again,
    load_corpus,
    locations,
    provenance,
)
from tinytape.training import TrainConfig, resolve
from tinytape.training.session import build_session

pytestmark = pytest.mark.usefixtures("nowhere")

CACHE_FOLDER = locations.cache_folder
TEXT = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default corpus is TEXT, so that tests need not hold Shakespeare."""
    monkeypatch.setitem(
        corpora.KNOWN_CORPORA,
        DEFAULT_CORPUS,
        corpora.KnownCorpus(
            name=DEFAULT_CORPUS,
            address="http://corpus.invalid",
            files={"input.txt": KnownFile(len(TEXT), hashlib.sha256(TEXT).hexdigest())},
        ),
    )


def put(folder: Path, data: bytes = TEXT, name: str = "input.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize("name", KNOWN_CORPORA)
def test_manifest_in_the_repository_agrees_with_the_package(name: str) -> None:
    folder = Path(__file__).parents[2] / "data" / name
    manifest = json.loads((folder / "manifest.json").read_text())
    readme = (folder / "README.md").read_text()
    about = KNOWN_CORPORA[name]
    assert manifest["name"] == about.name == name and manifest["address"] == about.address
    assert list(manifest["files"]) == list(about.files)
    for file, facts in manifest["files"].items():
        known = about.files[file]
        assert (facts["bytes"], facts["sha256"]) == (known.bytes, known.sha256)
        assert f"{known.bytes:,}" in readme and known.sha256 in readme
    assert about.address in readme


def test_the_default_corpus_is_the_one_it_always_was() -> None:
    about = KNOWN_CORPORA["shakespeare"]
    assert about.url("input.txt") == (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
    )
    (file,) = about.files.values()
    assert file.sha256 == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    assert file.bytes == 1_115_394


def test_folders_are_searched_in_the_promised_order(
    known: None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [
        put(nowhere / "chosen" / DEFAULT_CORPUS),
        put(Path("data") / DEFAULT_CORPUS),
        put(Path("..") / "shared" / "data" / DEFAULT_CORPUS),
        put(nowhere / "cache" / DEFAULT_CORPUS),
    ]
    monkeypatch.setenv("TINYTAPE_DATA", str(nowhere / "chosen"))
    for place in places:
        corpus = load_corpus()
        assert corpus.path == place
        assert (corpus.name, corpus.text.encode(), corpus.notice) == (DEFAULT_CORPUS, TEXT, None)
        place.unlink()
    assert load_corpus().name == corpora.FALLBACK_CORPUS


def test_a_folder_without_text_is_passed_over(known: None, nowhere: Path) -> None:
    """The repository's own data/shakespeare holds a README and a manifest, but no text."""
    put(Path("data") / DEFAULT_CORPUS, b"{}", name="manifest.json")
    place = put(nowhere / "cache" / DEFAULT_CORPUS)
    assert load_corpus().path == place


def test_a_known_corpus_is_verified_wherever_it_is(known: None) -> None:
    path = put(Path("data") / DEFAULT_CORPUS, TEXT[:-1])
    with pytest.raises(DataError) as error:
        load_corpus()
    message = str(error.value)
    assert str(path) in message
    assert KNOWN_CORPORA[DEFAULT_CORPUS].files["input.txt"].sha256 in message
    assert hashlib.sha256(TEXT[:-1]).hexdigest() in message


def test_a_file_of_the_user_needs_no_known_hash(tmp_path: Path) -> None:
    path = put(tmp_path / "mine", "Grüße\n".encode(), name="tale.txt")
    corpus = load_corpus(str(path))
    assert (corpus.name, corpus.text, corpus.path) == ("tale", "Grüße\n", path)
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_corpus(path).text == corpus.text  # a Path as well as a str
    assert load_corpus(put(tmp_path / "novel")).name == "novel"  # novel/input.txt


def test_a_file_called_input_in_the_working_directory_is_a_file() -> None:
    put(Path("."), TEXT, name="novel")
    assert load_corpus("novel").path == Path("novel")


def test_a_known_name_is_never_taken_for_a_file(known: None) -> None:
    put(Path("."), b"something else", name=DEFAULT_CORPUS)
    place = put(Path("data") / DEFAULT_CORPUS)
    assert load_corpus(DEFAULT_CORPUS).path == place
    assert load_corpus(f"./{DEFAULT_CORPUS}").text == "something else"


def test_a_file_or_folder_in_the_working_directory_is_found_by_its_name() -> None:
    place = put(Path("corp"), TEXT, name="book.txt")
    corpus = load_corpus("corp")
    assert (corpus.name, corpus.path, corpus.notice) == ("corp", place, None)
    put(Path("."), TEXT, name="tale")
    assert load_corpus("tale").path == Path("tale")
    # Another one, in a folder that is searched: said, and how to have that.
    other = put(Path("data") / "corp", TEXT + b"!")
    corpus = load_corpus("corp")
    assert corpus.path == place
    assert (
        corpus.notice == "corp: the one in this folder; another one is --data data/corp/input.txt"
    )
    assert load_corpus("data/corp/input.txt").path == other


def test_a_folder_that_holds_no_text_hides_none() -> None:
    (Path("corp") / "deeper").mkdir(parents=True)
    with pytest.raises(DataError, match="--data corp: the folder holds no input"):
        load_corpus("corp")
    other = put(Path("data") / "corp", TEXT)
    assert load_corpus("corp").path == other
    for name in ("a.txt", "b.txt"):  # which of them, nobody says
        put(Path("corp"), TEXT, name=name)
    assert load_corpus("corp").path == other
    other.unlink()
    with pytest.raises(
        DataError, match=r"corp holds 2 texts .* --data corp/a.txt or --data corp/b"
    ):
        load_corpus("corp")


def test_a_known_name_says_what_else_it_could_mean(known: None) -> None:
    put(Path("data") / DEFAULT_CORPUS)
    assert load_corpus().notice is None
    put(Path(DEFAULT_CORPUS), b"mine")
    notice = load_corpus().notice
    assert notice == "shakespeare: the corpus of that name; what lies here is --data ./shakespeare"
    assert load_corpus("./shakespeare").text == "mine"


@pytest.mark.parametrize("name", ["val", "validation", "dev", "valid"])
def test_every_name_of_a_validation_text_is_one(name: str) -> None:
    for part, text in (("train", b"to train on "), (name, b"held out "), ("test", b"test ")):
        put(Path("corp"), text, name=f"{part}.txt")
    corpus = load_corpus("corp")
    assert (corpus.text, corpus.parts) == ("to train on held out ", ("train.txt", f"{name}.txt"))
    (Path("corp") / "train.txt").unlink()
    assert load_corpus("corp").text == "held out test "


def test_two_validation_texts_are_one_too_many() -> None:
    for name in ("train", "valid", "val"):
        put(Path("corp"), TEXT, name=f"{name}.txt")
    with pytest.raises(DataError, match=r"holds valid.txt and val.txt, both of them validation"):
        load_corpus("corp")


def test_no_text_is_left_out_without_a_word() -> None:
    for name in ("input", "val", "notes"):
        put(Path("corp"), TEXT, name=f"{name}.txt")
    put(Path("corp"), b"\0\5\26\7", name="._input.txt")  # as macOS leaves them on other disks
    corpus = load_corpus("corp")
    assert corpus.notice == "corp: input.txt of 3 texts; not read: notes.txt, val.txt"
    put(Path("corp"), TEXT, name="wiki.test.tokens")
    put(Path("corp"), TEXT, name="MORE.TXT")
    notice = load_corpus("corp").notice
    assert str(notice).endswith("not read: MORE.TXT, notes.txt, val.txt, wiki.test.tokens")
    for name in ("wiki.test.tokens", "MORE.TXT"):
        (Path("corp") / name).unlink()
    (Path("corp") / "input.txt").rename(Path("corp") / "train.txt")
    notice = str(load_corpus("corp").notice)
    assert "training on train.txt, val.txt is held out" in notice
    assert notice.endswith("train.txt and val.txt of 3 texts; not read: notes.txt")


def test_names_of_runs_tell_texts_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody's text is called input.txt."""
    monkeypatch.chdir(tmp_path)
    for place in ("a/input.txt", "b/input.txt", "a/train.txt", "b/train.txt", "a/tale.txt"):
        put(Path(place).parent, TEXT, name=Path(place).name)
    given = [
        "a/input.txt",
        "b/input.txt",
        "a/train.txt",
        "b/train.txt",
        "a/tale.txt",
        "shakespeare",
    ]
    names = [corpus_name(data) for data in given]
    assert names == ["a", "b", "a-train", "b-train", "tale", "shakespeare"]
    assert corpus_name("a") == corpus_name("./a/") == corpus_name(str(tmp_path / "a")) == "a"
    assert load_corpus("b/input.txt").name == "b"
    monkeypatch.chdir("b")
    assert (
        corpus_name("input.txt") == corpus_name(".") == "b" and corpus_name("..") == tmp_path.name
    )
    assert corpus_name("x" * 5000) == "x" * 5000
    assert corpus_name("/") == "text" and corpus_name("x/my tale.txt") == "my-tale"


def test_a_run_finds_its_text_again_from_elsewhere(tmp_path: Path) -> None:
    place = put(Path("corp"), TEXT * 40, name="book.txt")
    record = provenance(load_corpus("corp"))
    assert record["path"] == os.path.abspath(place)
    os.chdir(tmp_path)
    assert load_again("corp", record).text.encode() == TEXT * 40
    # Another text of that name here is not taken for it.
    put(Path("corp"), b"another")
    assert load_again("corp", record).text.encode() == TEXT * 40
    # The project was moved as a whole: what the words mean from here.
    os.rename(tmp_path / "project", tmp_path / "moved")
    os.chdir(tmp_path / "moved" / "work")
    assert load_again("corp", record).text.encode() == TEXT * 40
    os.chdir("/")
    with pytest.raises(DataError, match=r"where the text of this run is now, say with --data$"):
        load_again("corp", record)


def test_a_known_corpus_is_found_again_by_its_name(known: None, nowhere: Path) -> None:
    put(Path("data") / DEFAULT_CORPUS)
    record = provenance(load_corpus())
    (Path("data") / DEFAULT_CORPUS / "input.txt").unlink()
    place = put(nowhere / "cache" / DEFAULT_CORPUS)
    assert load_again(DEFAULT_CORPUS, record).path == place


def test_a_folder_with_one_text_of_another_name() -> None:
    place = put(Path("data") / "novel", TEXT, name="book.txt")
    assert load_corpus("novel").path == place
    assert load_corpus("data/novel").name == "novel"
    put(Path("data") / "novel", TEXT, name="zzz.txt")
    with pytest.raises(DataError, match=r"2 texts.*book\.txt or --data .*zzz\.txt"):
        load_corpus("novel")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"abc\xff\xfe", "not UTF-8 text .byte 0xff at offset 3"),
        ("text".encode("utf-16"), "not UTF-8 text"),
    ],
)
def test_bad_text_is_refused_by_name(data: bytes, words: str) -> None:
    path = put(Path("data") / "bad", data)
    with pytest.raises(DataError, match=words) as error:
        load_corpus("bad")
    assert str(path) in str(error.value)


def test_an_absent_file_and_an_unknown_name() -> None:
    with pytest.raises(DataError, match=r"cannot read corpus .*none\.txt: No such file"):
        load_corpus("none.txt")
    with pytest.raises(DataError, match=r"named shakespear; did you mean shakespeare\?"):
        load_corpus("shakespear")
    with pytest.raises(DataError, match="the folder holds no"):
        load_corpus("./")


def test_a_wrong_tinytape_data_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTAPE_DATA", "/not/here")
    with pytest.raises(DataError, match="TINYTAPE_DATA=/not/here"):
        load_corpus()


def test_download_goes_to_the_cache_once(
    known: None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str, limit: int) -> Iterator[bytes]:
        asked.append(url)
        yield TEXT[:10]
        yield TEXT[10:]

    monkeypatch.setattr(corpora, "fetch", fetch)
    first = load_corpus()
    assert first.path == nowhere / "cache" / DEFAULT_CORPUS / "input.txt"
    assert first.path.read_bytes() == TEXT
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o666 & ~umask
    assert [p.name for p in first.path.parent.iterdir()] == ["input.txt"]
    assert first.notice is not None and "downloaded" in first.notice
    assert load_corpus().notice is None
    assert asked == ["http://corpus.invalid/input.txt"]


def test_a_wrong_download_is_refused_and_not_kept(
    known: None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "fetch", lambda url, limit: iter([b"<html>login</html>"]))
    with pytest.raises(DataError, match="this is not the corpus"):
        load_corpus()
    assert not list((nowhere / "cache").rglob("*.txt"))


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_train(
    known: None, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nowhere / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(corpora, "fetch", lambda url, limit: iter([TEXT]))
    corpus = load_corpus()
    assert corpus.text.encode() == TEXT and corpus.path is None


def test_fetch_speaks_http_and_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/text" else 404)
            self.end_headers()
            if self.path == "/text":
                self.wfile.write(b"x" * 1_000_000)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.undo()  # the real one
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        assert len(b"".join(corpora.fetch(f"{base}/text", limit=2_000_000))) == 1_000_000
        cut = len(b"".join(corpora.fetch(f"{base}/text", limit=1000)))
        assert 1000 < cut <= 1 << 16
        with pytest.raises(OSError):
            list(corpora.fetch(f"{base}/nothing", limit=1000))
        server.shutdown()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf a te", "broke off after 9 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", "IncompleteRead"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "BadStatusLine"),
        (b"", "closed connection"),
    ],
)
def test_an_answer_that_breaks_off_is_an_oserror(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str
) -> None:
    class Server(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(answer)

    monkeypatch.undo()  # the real one
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socketserver.TCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(OSError, match=why):
            list(corpora.fetch(f"http://127.0.0.1:{server.server_address[1]}/text", limit=1000))
        server.shutdown()


def test_the_default_falls_back_loudly(known: None) -> None:
    corpus = load_corpus()
    assert corpus.name == corpora.FALLBACK_CORPUS and corpus.path is None
    assert 300_000 < len(corpus.text) < 1_000_000
    assert corpus.sha256 == hashlib.sha256(corpus.text.encode()).hexdigest()
    assert corpus.notice is not None
    assert "THIS IS NOT SHAKESPEARE" in corpus.notice and "no network" in corpus.notice
    assert len(corpus.notice.splitlines()) >= 8 and "!" * 80 in corpus.notice
    assert load_corpus().sha256 == corpus.sha256


def test_the_fallback_has_a_name_of_its_own(known: None, tmp_path: Path) -> None:
    """A run that fell back goes on with the same text when the network answers again."""
    fallen = load_corpus()
    named = load_corpus("python-reference")
    assert named.sha256 == fallen.sha256 and named.notice is None
    config = resolve(TrainConfig(model="tiny", iters=1, out=str(tmp_path / "run")))
    session = build_session(config)
    assert session.config.data == "python-reference"
    assert session.record()["train"]["data"] == "python-reference"


def test_only_the_default_falls_back(known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other = corpora.KnownCorpus("other", "http://x.invalid", {"input.txt": KnownFile(3, "0" * 64)})
    monkeypatch.setitem(corpora.KNOWN_CORPORA, "other", other)
    with pytest.raises(DataError, match=r"does not answer.*put the text at data/other/input.txt"):
        load_corpus("other")


@pytest.mark.parametrize(
    "name",
    ["a/b\0c.txt", "a\0b", "./\ud800.txt", "x" * 5000, "./" + "x" * 5000, "~nobody-here/t.txt"],
)
def test_a_name_that_no_file_can_have(known: None, nowhere: Path, name: str) -> None:
    """A settings file can hold any text."""
    with pytest.raises(DataError):
        load_corpus(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "text.txt")
    with pytest.raises(DataError, match=r"cannot read corpus .*text\.txt: not a regular file"):
        load_corpus(tmp_path / "text.txt")


def test_a_user_without_a_home_can_train(known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert CACHE_FOLDER().is_absolute()
