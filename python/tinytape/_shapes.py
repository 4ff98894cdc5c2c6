"""Tensors that have a shape and no memory, for counting what a model would have.

>>> import tinytape as tt
>>> from tinytape._shapes import shapes_only
>>> with shapes_only:
...     huge = tt.zeros(10**6, 10**6)
>>> huge.numel()
1000000000000
"""

from __future__ import annotations

import threading


class _ShapesOnly(threading.local):
    """Within ``with shapes_only:`` new tensors are one number seen everywhere.

    This holds for ``zeros``, ``ones``, ``full``, ``empty``, random tensors and ``Parameter``, and
    nothing is written in place. So a module can be made and its parameters can be counted; what it
    would compute means nothing. Each thread has its own.
    """

    active = False

    def __enter__(self) -> None:
        if self.active:
            raise RuntimeError("shapes_only: is active already")
        self.active = True

    def __exit__(self, *error: object) -> None:
        self.active = False


shapes_only = _ShapesOnly()
