"""One file from a public address, within limits of size and time.

>>> from tinytape.data.download import fetch
>>> blocks = fetch("http://127.0.0.1:9/text", limit=1000)  # nothing is asked yet
>>> try:
...     b"".join(blocks)
... except OSError:
...     print("nothing answers there")
nothing answers there
"""

from __future__ import annotations

import time
from collections.abc import Iterator

TIMEOUT = 10.0  # seconds without an answer before the network counts as absent
DEADLINE = 60.0  # seconds for each MiB of a text


def fetch(url: str, limit: int) -> Iterator[bytes]:
    """Yield the bytes at ``url``, never more than one block beyond ``limit``.

    Raises:
        OSError: not all of them came.
    """
    import urllib.request  # here, because it loads TLS: megabytes that most runs never need
    from http.client import HTTPException

    seconds = DEADLINE * max(1, limit >> 20)
    end = time.monotonic() + seconds
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            received = 0
            while received <= limit and (block := answer.read(1 << 16)):
                if time.monotonic() > end:
                    raise TimeoutError(f"no complete answer in {seconds:.0f} s")
                received += len(block)
                yield block
            if received <= limit and answer.length:  # announced bytes that did not come
                raise OSError(f"the answer broke off after {received:,} bytes")
    except HTTPException as error:  # no HTTP, or an answer that breaks off visibly
        raise OSError(f"no proper answer: {error!r}") from error
