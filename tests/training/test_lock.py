"""One run at a time in a folder, where the file system has locks; elsewhere it is said once."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from tinytape import train
from tinytape.training.errors import RunError
from tinytape.training.lock import held


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)


NONE = [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF]


@pytest.mark.parametrize("number", NONE)
def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refusing(monkeypatch, number)
    with held(tmp_path) as notice, held(tmp_path) as again:
        assert notice == again and notice is not None
        assert notice.startswith(f"warning: {tmp_path}: this file system has no locks (")


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_folder_that_is_held_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with held(tmp_path) as notice:
        assert notice is None
        with pytest.raises(RunError, match="another process is training"), held(tmp_path):
            pass
    refusing(monkeypatch, number)
    with pytest.raises(RunError, match="another process is training"), held(tmp_path):
        pass


def test_what_else_fails_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, errno.EIO)
    with pytest.raises(OSError) as error, held(tmp_path):
        pass
    assert error.value.errno == errno.EIO and error.value.filename == str(tmp_path)


def test_training_goes_on_and_says_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, errno.ENOLCK)
    (tmp_path / "text.txt").write_text("to be or not to be " * 40)
    flags = ["--model", "tiny", "--batch-size", "1", "--data", str(tmp_path / "text.txt")]
    assert train.main([*flags, "--iters", "2", "--out", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("has no locks") == 1
    assert train.main(["--resume", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count("has no locks") == 1
