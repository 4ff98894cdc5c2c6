"""Making a folder ready for a new run: all checks first, and it removes nothing of a run.

>>> from tinytape.training import RunError, RunFolder
>>> from tinytape.training.claim import require_claimable
>>> try:
...     require_claimable(RunFolder("runs/demo"), overwrite=False)
... except RunError:
...     print("there is a run already")
there is a run already
"""

from __future__ import annotations

import os
from collections.abc import Callable

from .errors import RunError
from .replaced import repair, set_aside
from .run_folder import RunFolder, folder_problem, require_folder_or_nothing
from .run_state import link_problem, look_at


def require_claimable(folder: RunFolder, *, overwrite: bool) -> None:
    """Check that a new run may begin in the folder; nothing is changed.

    Raises:
        RunError: it may not; the message says why, and what would help.
    """
    require_folder_or_nothing(folder.path)
    if not folder.path.is_dir():
        return
    state = look_at(folder)
    if state.record is None and not state.interrupted:
        if state.problem:
            raise RunError(
                f"--out {folder}: {state.problem}, so nothing here is a run's to replace; choose "
                f"another"
            )
        for directory in folder.checkpoint_folders:
            if problem := folder_problem(directory):
                raise RunError(f"--out {folder}: {problem}")
        saved = (*state.checkpoints, *state.best, *state.strays)
        foreign = [p for p in (*state.others, *folder.files, *saved) if os.path.lexists(p)]
        if foreign:
            name = foreign[0].relative_to(folder.path)
            raise RunError(
                f"--out {folder}: the folder holds {str(name)!r} and is not a run; choose another"
            )
    elif not overwrite:
        goes_on = state.interrupted or state.checkpoints or state.is_untouched
        how = "add --resume to go on with it, " if goes_on else ""
        raise RunError(
            f"{folder} holds a run already; {how}--overwrite to start it again, or --out for "
            f"another folder"
        )
    if problem := link_problem(folder):
        raise RunError(f"--out {folder}: {problem}")


def claim(folder: RunFolder, say: Callable[[str], None], *, overwrite: bool) -> None:
    """Make a folder, which is held, ready for a new run. An earlier run's files are moved aside.

    Raises:
        RunError: as :func:`require_claimable`; nothing has changed.
        OSError: the earlier files cannot be moved, and are where they were.
    """
    if look_at(folder).interrupted:
        repair(folder)
    require_claimable(folder, overwrite=overwrite)
    if os.path.lexists(folder.config):
        old = set_aside(folder)
        folder.remove_leftovers()
        say(f"the run before is kept in {old} until the first checkpoint is saved")
