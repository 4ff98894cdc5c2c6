"""Files that survive a crash at any point, and readers that neither wait nor swallow too much."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinytape import _files

OLD = {"a.json": b"old a", "b.json": b"old b"}
NEW = {"a.json": b"new a", "b.json": b"new b", "c.json": b"new c"}
CALLS = ("open", "write", "fsync", "close", "rename", "replace", "mkdir", "rmdir", "unlink")


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


class Watched:
    """Calls ``before(k)`` ahead of the k-th system call that changes something in ``_files``."""

    def __init__(self, patch: pytest.MonkeyPatch, before: Callable[[int], None]) -> None:
        self.count = 0
        self._idle = True
        for name in CALLS:
            patch.setattr(os, name, self._watching(getattr(os, name), before))

    def _watching(self, real: Callable[..., Any], before: Callable[[int], None]) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            if self._idle:
                self._idle = False  # what ``before`` itself calls is not counted
                try:
                    before(self.count)
                finally:
                    self._idle = True
                    self.count += 1
            return real(*args, **named)

        return call


@pytest.mark.parametrize("old", [None, OLD])
def test_a_kill_at_any_point_leaves_the_old_folder_or_the_new(
    tmp_path: Path, old: dict[str, bytes] | None
) -> None:
    """Each system call: what lies there just before it is what a kill would leave."""
    home, killed = tmp_path / "home", tmp_path / "killed"
    path = home / "step"
    home.mkdir()
    if old:
        _files.publish_folder(path, old)
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(patch, lambda k: shutil.copytree(home, killed / str(k), symlinks=True))
        _files.publish_folder(path, NEW)
    assert content(path) == NEW and os.listdir(home) == ["step"]
    seen = set()
    for state in killed.iterdir():
        names = os.listdir(state)
        seen.add("step" in names)
        _files.remove_leftovers(state)
        assert os.listdir(state) in (["step"], [] if old is None else ["step"]), names
        if os.listdir(state):
            assert content(state / "step") in (old, NEW)
    assert watched.count > 12
    assert seen == {True, False}  # the moment between the two renames was among them


def test_a_killed_process_of_the_same_number_loses_nothing(tmp_path: Path) -> None:
    """In containers numbers come back: the next writer finds the folder that was moved aside."""
    path = tmp_path / "step"
    _files.publish_folder(tmp_path / f".tmp-old-step-{os.getpid()}", OLD)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "planted")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_files, "write_file", full)
        with pytest.raises(OSError, match="planted"):
            _files.publish_folder(path, NEW)
    assert content(path) == OLD and os.listdir(tmp_path) == ["step"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_exception_at_any_point_leaves_no_litter(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "step"
    k = 0
    while True:
        shutil.rmtree(path, ignore_errors=True)
        _files.publish_folder(path, OLD)

        def interrupt(at: int, k: int = k) -> None:
            if at == k:
                raise error

        with pytest.MonkeyPatch.context() as patch:
            watched = Watched(patch, interrupt)
            with contextlib.suppress(error):
                _files.publish_folder(path, NEW)
        _files.remove_leftovers(tmp_path)  # an interrupt may have come while it cleaned up
        assert os.listdir(tmp_path) == ["step"]
        assert content(path) in (OLD, NEW)
        if watched.count <= k:
            assert content(path) == NEW
            break
        k += 1
    assert k > 12


def test_only_what_is_whole_gets_its_name_back(tmp_path: Path) -> None:
    _files.publish_folder(tmp_path / "step-1", NEW)
    _files.publish_folder(tmp_path / ".tmp-old-step-1-77", OLD)  # its successor is there
    _files.publish_folder(tmp_path / ".tmp-old-step-2-77", OLD)  # its successor is not
    (tmp_path / ".tmp-step-3-77").mkdir()
    (tmp_path / ".tmp-config.json-77").write_bytes(b"half")
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "step-1")
    _files.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["step-1", "step-2"]
    assert content(tmp_path / "step-1") == NEW and content(tmp_path / "step-2") == OLD


LEFTOVERS = [".tmp-old-.-1", ".tmp-old-..-7", ".tmp-", ".tmp-old-", ".tmp-x-1"]


@pytest.mark.parametrize("name", LEFTOVERS)
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_leftover_of_any_name_is_only_removed(tmp_path: Path, name: str, kind: str) -> None:
    """Names that we never give: "." and ".." are no folders that could come back."""
    home = tmp_path / "home"
    home.mkdir()
    _files.publish_folder(home / "step-1", NEW)
    if kind == "link":
        (home / name).symlink_to(home / "step-1")
    elif kind == "folder":
        (home / name).mkdir()
    else:
        (home / name).touch()
    _files.remove_leftovers(home)
    assert os.listdir(home) == ["step-1"] and content(home / "step-1") == NEW
    assert os.listdir(tmp_path) == ["home"]


NO_SYNC = [errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP]


@pytest.mark.parametrize("number", NO_SYNC)
def test_a_file_system_that_cannot_sync_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is taken as it is; a file that cannot be synced is an error that names it."""
    real = os.fsync

    def refusing(folders: bool) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode) is folders:
                raise OSError(number, os.strerror(number))
            real(descriptor)

        return sync

    monkeypatch.setattr(os, "fsync", refusing(folders=True))
    _files.publish_folder(tmp_path / "step", OLD)
    _files.publish_folder(tmp_path / "step", NEW)
    _files.replace_file(tmp_path / "file", b"content")
    _files.make_folder(tmp_path / "a" / "b")
    assert content(tmp_path / "step") == NEW and (tmp_path / "file").read_bytes() == b"content"
    monkeypatch.setattr(os, "fsync", refusing(folders=False))
    with pytest.raises(OSError) as error:
        _files.replace_file(tmp_path / "file", b"other")
    assert error.value.errno == number and "file" in str(error.value.filename)
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_that_cannot_be_opened_is_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One may be written to and not listed: the file in it is whole all the same."""
    real = os.open

    def opening(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "planted", path)
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", opening)
    _files.replace_file(tmp_path / "file", b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_folder_that_fails_to_sync_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails is no file system that cannot."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "planted")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="planted") as error:
        _files.sync_folder(tmp_path)
    assert error.value.filename == str(tmp_path)


def test_contents_may_come_piece_by_piece(tmp_path: Path) -> None:
    pieces: dict[str, Any] = {"a": iter([b"1", memoryview(b"23")]), "b": b"4", "c": iter([])}
    _files.publish_folder(tmp_path / "step", pieces)
    assert content(tmp_path / "step") == {"a": b"123", "b": b"4", "c": b""}

    def failing() -> Any:
        yield b"new"
        raise MemoryError

    with pytest.raises(MemoryError):
        _files.publish_folder(tmp_path / "step", {"a": failing()})
    with pytest.raises(MemoryError):
        _files.replace_file(tmp_path / "step" / "a", failing())
    assert os.listdir(tmp_path) == ["step"]
    assert content(tmp_path / "step") == {"a": b"123", "b": b"4", "c": b""}


def test_the_order_is_write_sync_rename_sync(tmp_path: Path) -> None:
    """Of the files, of their folder, of the name; and the old folder goes after all of that."""
    path = tmp_path / "step"
    _files.publish_folder(path, OLD)
    log: list[str] = []
    names: dict[int, str] = {}
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename

    def opening(name: Any, *rest: Any, **named: Any) -> int:
        number = real_open(name, *rest, **named)
        names[number] = Path(os.fspath(name)).name
        return number

    def syncing(number: int) -> None:
        log.append(f"sync {names[number]}")
        real_fsync(number)

    def renaming(source: Any, target: Any) -> None:
        log.append(f"rename {Path(source).name} {Path(target).name}")
        real_rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", opening)
        patch.setattr(os, "fsync", syncing)
        patch.setattr(os, "rename", renaming)
        patch.setattr(_files, "_remove", lambda p: log.append(f"remove {p.name}"))
        _files.publish_folder(path, NEW)
    new, old = f".tmp-step-{os.getpid()}", f".tmp-old-step-{os.getpid()}"
    begin = log.index("sync a.json")
    assert log[begin:-1] == [
        "sync a.json",
        "sync b.json",
        "sync c.json",
        f"sync {new}",
        f"rename step {old}",
        f"rename {new} step",
        f"sync {tmp_path.name}",
        f"remove {old}",
    ]


def test_new_folders_are_synced_into_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(_files, "sync_folder", synced.append)
    _files.make_folder(tmp_path / "run" / "checkpoints")
    assert synced == [tmp_path, tmp_path / "run"]
    _files.make_folder(tmp_path / "run" / "checkpoints")
    assert len(synced) == 2
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        _files.make_folder(tmp_path / "file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path / "link", tmp_path, Path(os.devnull)):
        with pytest.raises(OSError, match="not a regular file"):
            _files.read_file(name)


def test_no_more_is_read_than_expected(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert _files.read_file(path, 5) == _files.read_file(path) == b"12345"
    with pytest.raises(OSError, match="5 bytes, expected at most 4"):
        _files.read_file(path, 4)
    with open(path, "r+b") as file:
        file.truncate(1 << 40)  # with holes: reading it would take all memory
    with pytest.raises(OSError, match="expected at most 100"):
        _files.read_file(path, 100)


def test_a_link_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"precious")
    for target in ("mine", "nothing"):
        (tmp_path / "link").symlink_to(target)
        with pytest.raises(OSError, match=f"a link to {target}") as error:
            _files.replace_file(tmp_path / "link", b"other")
        assert error.value.filename == str(tmp_path / "link")
        assert os.readlink(tmp_path / "link") == target
        (tmp_path / "link").unlink()
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_bytes() == b"precious"
