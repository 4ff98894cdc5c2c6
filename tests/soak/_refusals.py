"""Pieces of work, to be run with memory refused at any allocation."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinytape as tt
from tinytape.nn import functional as F
from tinytape.training import TrainConfig, load_checkpoint, resolve, save_checkpoint
from tinytape.training.environment import environment
from tinytape.training.session import Session, build_session

from ..ops import Row, rows
from ..ops.problem import Problem, draw_problem

WORDS = "the cat sat on a mat; who knows why? nobody does, said the dog.\n"


@dataclass(frozen=True)
class Work:
    """One kind of work.

    Attributes:
        prepare: makes what it works on, always the same.
        attempt: what is refused memory; may be called again, and is then all done.
        outcome: what came of it and of the step after it, as bytes.
        unchanged: what a refused attempt must leave as it was, as bytes.
    """

    name: str
    prepare: Callable[[], Any]
    attempt: Callable[[Any], None]
    outcome: Callable[[Any], bytes]
    unchanged: Callable[[Any], bytes] = lambda state: b""


def as_bytes(arrays: Iterable[Any]) -> bytes:
    return b"".join(np.asarray(getattr(a, "numpy", lambda a=a: a)()).tobytes() for a in arrays)


# ---- operations ----------------------------------------------------------------------------------


def largest_problem(row: Row, seed: int) -> Problem:
    """Of a few that are drawn: the first ones are of next to nothing."""
    found: list[Problem] = []

    @settings(
        max_examples=12,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: Any) -> None:
        found.append(draw_problem(data, row))

    draw()
    return max(found, key=lambda p: (any(p.wanted), sum(x.size for x in p.leaves)))


class Operation:
    """Forward, backward kernel, vjp and the gradient of that, of one problem of the test table."""

    def __init__(self, problem: Problem, differentiable: bool) -> None:
        self.problem = problem
        self.leaves = problem.tensors(tt.float32)
        wanted = [x for x in self.leaves if x.requires_grad]
        self.wanted = wanted if differentiable and problem.judged else []
        self.results: list[np.ndarray] = []

    def attempt(self) -> None:
        outputs = self.problem.run(self.leaves)
        results = [y.numpy() for y in outputs]
        roots = [y for y in self.problem.roots(outputs) if y.requires_grad]
        if self.wanted and roots:
            ones = [tt.ones_like(y) for y in roots]
            options = {"allow_unused": True}
            raw = tt.grad(roots, self.wanted, ones, retain_graph=True, **options)
            vjp = tt.grad(roots, self.wanted, ones, create_graph=True, **options)
            squares = [(g * g).sum() for g in vjp if g is not None and g.requires_grad]
            second = tt.grad(squares, self.wanted, **options) if squares else ()
            results += [g.numpy() for g in (*raw, *vjp, *second) if g is not None]
        self.results = results


def operations(names: Iterable[str], seed: int) -> Iterator[Work]:
    table = rows()
    for name in names:
        problem = largest_problem(table[name], seed)
        differentiable = table[name].differentiable
        yield Work(
            name=f"operation {name}",
            prepare=lambda p=problem, d=differentiable: Operation(p, d),
            attempt=Operation.attempt,
            outcome=lambda state: as_bytes(state.results),
            unchanged=lambda state: as_bytes(state.leaves),
        )


# ---- what hooks and Functions do in a pass -------------------------------------------------------


class Cube(tt.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, dy: tt.Tensor) -> tt.Tensor:
        (x,) = ctx.saved_tensors
        return dy * x * x * 3


class Callbacks:
    """A Function, hooks, and a recurrent state that is carried on."""

    def __init__(self) -> None:
        generator = tt.Generator(1)
        self.x = tt.randn(3, 2, 4, generator=generator, requires_grad=True)
        self.lstm = tt.nn.LSTM(4, 5, generator=generator)
        self.carried = tuple(tt.zeros(1, 2, 5) for _ in range(2))
        self.results: list[np.ndarray] = []

    def attempt(self) -> None:
        x = Cube.apply(self.x)
        hook = x.register_hook(lambda g: g * 2)
        y, carried = self.lstm(x, self.carried)
        grads = tt.grad((y * y).sum(), (self.x, *self.lstm.parameters()))
        hook.remove()
        with tt.no_grad():
            loss = F.mse_loss(y.detach(), tt.ones_like(y)).item()
        carried = tuple(s.detach() for s in carried)
        self.results = [np.array(loss), *(g.numpy() for g in grads)]
        self.carried = carried


CALLBACKS = Work(
    name="hooks, a Function, a recurrent state",
    prepare=Callbacks,
    attempt=Callbacks.attempt,
    outcome=lambda state: as_bytes([*state.results, *state.carried]),
    unchanged=lambda state: as_bytes(state.carried),
)


# ---- a run ---------------------------------------------------------------------------------------


class Run:
    """A session of a tiny transformer, and how far its step is."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.session: Session | None = None
        self.loss: tt.Tensor | None = None
        self.saved: Path | None = None

    def build(self) -> None:
        self.session = build_session(self.config)

    def record(self) -> None:
        s = self.session
        x, y = s.task.windows.batch(s.counters.step)
        logits = s.model(tt.tensor(x))
        self.loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tt.tensor(y.reshape(-1)))

    def backward(self) -> None:
        self.loss.backward()

    def clip(self) -> None:
        tt.nn.utils.clip_grad_norm_(self.session.model.parameters(), 0.1)

    def update(self) -> None:
        self.session.updates.optimizer.step()
        self.session.updates.scheduler.step()
        self.session.updates.optimizer.zero_grad()
        self.session.counters.step += 1

    def steps(self, first: int = 0) -> None:
        for part in (self.record, self.backward, self.clip, self.update)[first:]:
            part()

    def save(self) -> None:
        s = self.session
        state, arrays = s.state()
        self.saved = save_checkpoint(
            Path(self.config.out),
            s.counters.step,
            model=s.weights(),
            arrays=arrays,
            state=state,
            config=s.record(),
            env=environment(),
        )

    def load(self, checkpoint: Path) -> None:
        self.session.restore(load_checkpoint(checkpoint))

    def state(self) -> bytes:
        state, arrays = self.session.state()
        values = as_bytes([*self.session.weights().values(), *arrays.values()])
        return repr(state).encode() + values


def run_works(folder: Path) -> Iterator[Work]:
    """A step, a checkpoint and its loading, each part on its own."""
    text = folder / "cats.txt"
    rng = random.Random(0)
    text.write_text(" ".join(rng.choices(WORDS.split(" "), k=300)))
    config = resolve(
        TrainConfig(
            model="tiny",
            data=str(text),
            out=str(folder / "run"),
            iters=12,
            batch_size=2,
        )
    )

    def ready(parts: int) -> Run:
        """A run of one step, and the first parts of the next."""
        run = Run(config)
        run.build()
        run.steps()
        for part in (run.record, run.backward, run.clip)[:parts]:
            part()
        for p in run.session.model.parameters():
            _ = p.grad  # a Tensor object that stands for it from then on is no leak
        return run

    def finish(first: int) -> Callable[[Run], bytes]:
        def outcome(run: Run) -> bytes:
            run.steps(first)
            run.steps()
            return run.state()

        return outcome

    parts = (Run.record, Run.backward, Run.clip, Run.update)
    for i, part in enumerate(parts):
        yield Work(part.__name__, lambda i=i: ready(i), part, finish(i + 1), Run.state)

    def emptied(run: Run) -> Run:
        shutil.rmtree(config.out, ignore_errors=True)
        return run

    def written(run: Run) -> bytes:
        read = load_checkpoint(run.saved)
        arrays = {**read.model, **read.arrays}
        return repr(read.state).encode() + as_bytes(arrays[name] for name in sorted(arrays))

    def with_files(run: Run) -> bytes:
        return run.state() + repr(sorted(Path(config.out).glob("*"))).encode()

    yield Work("save", lambda: emptied(ready(0)), Run.save, written, with_files)

    donor = Run(replace(config, out=str(folder / "donor")))
    donor.build()
    for _ in range(2):
        donor.steps()
    donor.save()
    saved = donor.saved
    del donor
    yield Work("load", lambda: ready(0), lambda run: run.load(saved), finish(0), Run.state)
    yield Work("build", lambda: Run(config), Run.build, finish(0))


def all_works(folder: Path, seed: int, most_operations: int | None) -> Iterator[Work]:
    """Every work; of the operations no more than so many, drawn at random."""
    yield from run_works(folder)
    yield CALLBACKS
    names = sorted(rows())
    if most_operations is not None:
        names = random.Random(seed).sample(names, most_operations)
    yield from operations(names, seed)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tinytape-refused-")
