"""The presets of all models, in sizes that train at once."""

from __future__ import annotations

import pytest

from tinytape import models

SMALL = {"width": 8, "heads": 2, "hidden": 8}


def make_presets_small(patched: pytest.MonkeyPatch, **more: int) -> None:
    """Set the sizes that a preset has to those of ``SMALL`` and to these, until the undo."""
    for spec in models.specs():
        for options in spec.presets.values():
            for name, size in {**SMALL, **more}.items():
                if name in options:
                    patched.setitem(options, name, size)
