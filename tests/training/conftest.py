"""Fixtures that several tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..soak._miniature import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small finished run, to be copied and not to be changed."""
    folder = tmp_path_factory.mktemp("miniature")
    write_run(folder)
    return folder
