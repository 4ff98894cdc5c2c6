"""Refused memory is an exception at every place, and everything is as before after it.

The test counts every allocation of the core: requests to the system, and requests that arenas and
free lists fill from memory that they have. At other times those go to the system too.
"""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tinytape as tt
from tinytape._ffi import lib
from tinytape.context import current

from ._refusals import Work, all_works, temporary_folder
from .promise import Outcome, Promise

MESSAGE = re.compile(r"out of memory in the \w+ pool: asked for \d+ bytes, \d+ in use, peak \d+")
ONCE = int(lib.TT_FAIL_INSIDE)
WAYS = {"once": ONCE, "for ever": ONCE | int(lib.TT_FAIL_FOR_EVER)}
COUNTING = 1 << 62


def live() -> dict[str, int]:
    """What a refused call must not change: blocks, bytes, nodes and handles."""
    current().forget_ended()  # what hooks and Functions of a graph that is gone wait for
    return {
        key: value
        for key, value in tt.memory_stats().items()
        if key in ("live_handles", "tape_nodes", "held_tensors", "step_used")
        or (key.endswith(("_blocks", "_bytes")) and not key.startswith(("system", "pool_cached")))
    }


def count_allocations(work: Work) -> tuple[int, bytes]:
    """How many there are when none is refused, and what comes of the work then."""
    for _ in range(3):  # arenas and tables have their size then
        work.attempt(work.prepare())
    state = work.prepare()
    lib.tt_fail_allocation(COUNTING, ONCE)
    try:
        work.attempt(state)
    finally:
        left = int(lib.tt_fail_allocation(0, 0))
    return COUNTING - left, work.outcome(state)


def refuse(work: Work, k: int, how: int, expected: bytes) -> str | None:
    """Refuse the k-th allocation; what was wrong, or None."""
    state = work.prepare()
    unchanged, before = work.unchanged(state), live()
    message = ""
    lib.tt_fail_allocation(k, how)
    try:
        work.attempt(state)
    except MemoryError as error:
        message = str(error)
    except Exception as error:
        return f"{type(error).__name__} instead of MemoryError: {error}"
    finally:
        lib.tt_fail_allocation(0, 0)
    if not message:
        return "nothing was raised"
    if not MESSAGE.search(message):
        return f"the message does not say everything: {message!r}"
    after = live()
    if after != before:
        gc.collect()
        after = live()
    if changed := {key: (before[key], after[key]) for key in before if before[key] != after[key]}:
        return f"left behind after {message!r}: {changed}"
    if work.unchanged(state) != unchanged:
        return f"what it worked on changed, after {message!r}"
    work.attempt(state)
    return None if work.outcome(state) == expected else f"another result after {message!r}"


def try_works(folder: Path, count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    full = count >= PROMISE.full
    rng = random.Random(seed)
    outcome = Outcome(0)
    works = list(all_works(folder, seed, None if full else 12))
    places = 0
    for work in works:
        needed, expected = count_allocations(work)
        places += needed
        tries = [(k, way) for way in WAYS for k in range(1, needed + 1)]
        if not full:
            tries = rng.sample(tries, min(len(tries), max(1, count // len(works))))
        for k, way in tries:
            wrong = refuse(work, k, WAYS[way], expected)
            outcome.tried += 1
            if wrong:
                outcome.failures.append(f"{work.name}, allocation {k} of {needed}, {way}: {wrong}")
        say(f"{work.name}: {needed} allocations, {outcome.tried:,} refusals so far")
    outcome.figures = {"allocations refused": f"{places:,}" if full else f"a sample of {places:,}"}
    return outcome


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    # A thread of its own has a context of its own, in which nothing else lives.
    with temporary_folder() as folder, ThreadPoolExecutor(1) as pool:
        return pool.submit(try_works, Path(folder), count, seed, say).result()


PROMISE = Promise(
    words="Out of memory is an exception",
    how="each allocation refused, once and for ever, in every operation (forward, backward, vjp, "
    "second order), hooks and Functions, record, backward, clip, step, save, load and build",
    wanted="MemoryError with pool, bytes asked, in use and peak; nothing leaked; same bits after",
    quick=150,
    full=1_000_000,  # every one there is
    run=run,
)
