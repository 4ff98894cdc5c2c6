"""The folder of a study: which study it belongs to, and that one at a time writes there.

results.json   the numbers, with the name of the study
table.md       the table
picture.png    the picture
random.txt     the text without order, where a variant reads one
runs/          the folder of each run, and beside it the run's output

>>> from pathlib import Path
>>> from tinytape.studies.folder import StudyFolder
>>> folder = StudyFolder(Path("study"), "delta")
>>> with folder.held():
...     print(folder.results.name)
results.json
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .._files import make_folder, read_file, remove_leftovers
from ..training.errors import CheckpointError, RunError
from ..training.json_records import RECORD_LIMIT, unpack_json
from ..training.lock import held


class StudyFolder:
    """The files of one study, by name."""

    def __init__(self, path: Path, study: str) -> None:
        self.path, self.study = path, study
        self.results = path / "results.json"
        self.table = path / "table.md"
        self.picture = path / "picture.png"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A ``with`` block in which the study may write here. The folder is made if it is absent.

        Raises:
            RunError: another study is under way here, or the files here are of another one.
            OSError: the folder cannot be made or opened.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--out {self.path}: this is a file, expected a folder")
        make_folder(self.path)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(self.path))
            except RunError as error:
                raise RunError(f"{self.path}: another study is under way in this folder") from error
            self._require_own()
            remove_leftovers(self.path)
            yield

    def _require_own(self) -> None:
        """Raise RunError when a file that would be replaced is not of this study."""
        if self.results.exists():  # the first of the three to be written
            try:
                name = unpack_json(read_file(self.results, RECORD_LIMIT), self.results).get("study")
            except CheckpointError:
                name = None
            if name != self.study:
                what = f"the study {name}" if isinstance(name, str) else "something else"
                raise RunError(
                    f"--out {self.path}: {self.results.name} there is of {what}; choose another "
                    f"folder"
                )
            return
        for file in (self.table, self.picture):
            if file.exists():
                raise RunError(
                    f"--out {self.path}: the folder holds {file.name!r} and no results of a study; "
                    f"choose another"
                )
