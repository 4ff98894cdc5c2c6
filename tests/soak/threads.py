"""Threads and processes: independent contexts, forks, spawned processes, exits."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tinytape as tt

from ._processes import EXITS, product, spawned, train
from .promise import Outcome, Promise

ROOT = Path(__file__).parents[2]
THREADS = 8


def in_threads(works: list[Callable[[], Any]]) -> list[Any]:
    """The results of works that run all at once; an exception is a result too."""
    results: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = works[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def own_contexts(steps: int) -> list[str]:
    """Each thread's results are those that it would have had alone."""
    alone = [train(steps, seed) for seed in range(THREADS)]
    together = in_threads([lambda s=seed: train(steps, s) for seed in range(THREADS)])
    return [
        f"thread {i}: other results than alone: {t if isinstance(t, Exception) else ''}"
        for i, (a, t) in enumerate(zip(alone, together, strict=True))
        if a != t
    ]


def shared_context(tries: int) -> list[str]:
    """Another thread's tensors are refused, and their own thread does not notice."""
    x = tt.ones(40, 40, requires_grad=True)
    y = (x * x).sum()
    optimizer = tt.optim.AdamW([x])
    uses: dict[str, Callable[[], Any]] = {
        "add": lambda: x + 1,
        "mixed": lambda: tt.ones(40, 40) * x,
        "sum": lambda: x.sum(),
        "backward": lambda: y.backward(),
        "grad": lambda: tt.grad(y, x),
        "item": lambda: y.item(),
        "numpy": lambda: x.detach().numpy(),
        ".grad": lambda: x.grad,
        "copy_": lambda: x.detach().copy_(tt.zeros(40, 40)),
        "step": lambda: optimizer.step(),
    }

    def misuse() -> list[str]:
        wrong = []
        for _ in range(tries):
            for name, use in uses.items():
                try:
                    use()
                except tt.errors.ThreadError:
                    continue
                except Exception as error:
                    wrong.append(f"{name} from another thread: {error!r}")
                else:
                    wrong.append(f"{name} from another thread was not refused")
        return wrong

    expected = train(tries, 1)
    found: list[list[Any]] = []
    others = threading.Thread(target=lambda: found.extend(in_threads([misuse] * 3)))
    others.start()
    here = train(tries, 1)  # meanwhile, in the context that they reach for
    others.join()
    wrong = [w for each in found for w in (each if isinstance(each, list) else [repr(each)])]
    if here != expected:
        wrong.append("a context that others reached for gave other results")
    y.backward()
    if x.grad is None or (x.grad.numpy() != 2).any() or (x.detach().numpy() != 1).any():
        wrong.append("tensors that others reached for are not as they were")
    return wrong


def python(*arguments: str) -> list[str]:
    """Run tests/soak/_processes.py: it is to end with 0, and to say nothing."""
    command = [sys.executable, "-m", "tests.soak._processes", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return [f"{' '.join(arguments)}: hangs"]
    said = (done.stdout + done.stderr).strip()
    if done.returncode or said:
        return [f"{' '.join(arguments)}: ended with {done.returncode}: {said[-500:]}"]
    return []


def spawn() -> list[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=spawned, args=(theirs,))
    process.start()
    theirs.close()
    try:
        same = ours.recv_bytes() == product() + train(2, 1)
    except EOFError:
        same = False
    process.join()
    ours.close()
    if process.exitcode or not same:
        return [f"spawn: ended with {process.exitcode}, {'the same' if same else 'other'} bits"]
    return []


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """``count`` steps of each thread; a tenth as many forks, and so on."""
    outcome = Outcome(0)

    def tried(what: str, n: int, wrong: list[str]) -> None:
        outcome.tried += n
        outcome.failures += wrong
        outcome.figures[what] = f"{n - min(n, len(wrong))} of {n}"
        say(f"{what}: {outcome.figures[what]}")

    n_forks, n_exits = max(4, count // 10), max(1, count // 100)
    threads = tt.get_num_threads()
    tt.set_num_threads(2)
    try:
        tried(f"threads of {count:,} steps as if alone", THREADS, own_contexts(count))
        tried("a shared context refused", 3, shared_context(max(2, count // 20)))
        tried("spawned processes", 1, spawn())
    finally:
        tt.set_num_threads(threads)
    tried("forks", n_forks, python("forks", str(n_forks)))
    exits = [wrong for kind in EXITS for _ in range(n_exits) for wrong in python("exit", kind)]
    tried("clean exits", n_exits * len(EXITS), exits)
    return outcome


PROMISE = Promise(
    words="Threads and processes do not disturb each other",
    how=f"{THREADS} threads with contexts of their own; one context from other threads; forks of a "
    "process with a pool and other threads; spawn; exits with tensors, a graph, a thread, a pass",
    wanted="serial results bit for bit; ThreadError; no hang; exit 0 and no output",
    quick=20,
    full=1000,
    run=run,
)
