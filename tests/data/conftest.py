"""Fixtures that several tests of data share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tinytape.data import corpora, locations


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, an empty cache, no TINYTAPE_DATA, and no network."""
    work = tmp_path / "project" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.delenv("TINYTAPE_DATA", raising=False)
    monkeypatch.setattr(locations, "cache_folder", lambda: tmp_path / "cache")

    def no_network(url: str, limit: int) -> Iterator[bytes]:
        raise TimeoutError("planted: no network")

    monkeypatch.setattr(corpora, "fetch", no_network)
    return tmp_path
