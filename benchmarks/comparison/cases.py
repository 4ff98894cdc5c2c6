"""What is measured: the cases, their sizes, and the targets that the tables hold them to.

A case is one training step, one generation or one operation at given sizes. A target is what
tinytape wants to reach on two threads of the machine of benchmarks/README.md: how many times faster
than the fastest of PyTorch, torch.compile and JAX, and how close to the roofline of roofline.py.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

PEERS = ("eager", "compile", "jax")
PYTORCH = ("eager", "compile")
VOCABULARY = 65
ALPHABET = 283  # of the LSTM model
SHORTEST_TEXT = 100_000  # characters: 64 lanes with a few steps each
LSTM_PARAMETERS = 1_197_339


@dataclass(frozen=True)
class Target:
    """At two threads. None: no target."""

    ratio: float | None = None  # times faster than the best peer
    share: float | None = None  # the roofline's time divided by the step's
    speed_up: float | None = None  # from one thread to two
    peers: tuple[str, ...] = PEERS


@dataclass(frozen=True)
class Case:
    """One thing to time. ``kind`` says which function of an engine prepares it."""

    name: str
    group: str
    kind: str
    sizes: dict[str, Any]
    target: Target = field(default_factory=Target)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "sizes": self.sizes}


SMALL = {"vocab_size": VOCABULARY, "context": 64, "width": 128, "heads": 4, "layers": 2}
MEDIUM = {"vocab_size": VOCABULARY, "context": 256, "width": 256, "heads": 8, "layers": 4}


def _step(name: str, model: dict[str, int], batch: int, *target: float | None) -> Case:
    return Case(f"{name}-b{batch}", "steps", "gpt", {**model, "batch": batch}, Target(*target))


def _lstm(batch: int, length: int, *target: float | None) -> Case:
    sizes = {"batch": batch, "length": length}
    return Case(f"lstm-{batch}x{length}", "steps", "lstm", sizes, Target(*target))


def _op(name: str, op: str, ratio: float | None = None, **sizes: Any) -> Case:
    return Case(name, "ops", "op", {"op": op, **sizes}, Target(ratio, peers=PYTORCH))


STEPS = [
    _step("small", SMALL, 1, 3.0, 0.55),
    _step("small", SMALL, 12, 1.4, 0.80, 1.7),
    _step("small", SMALL, 64, 1.25, 0.85, 1.7),
    _step("medium", MEDIUM, 8, 1.25, 0.85, 1.7),
    _lstm(1, 64, 3.0),
    _lstm(32, 256, 1.25, 0.85, 1.7),
    _lstm(64, 512, 1.7, 0.80, 1.7),
]

# The cache is full after as many tokens as the context holds: no refilling is in it.
GENERATE = [
    Case(
        "generate-small", "generate", "generate", {**SMALL, "batch": 1}, Target(5.0, peers=PYTORCH)
    )
]

# (rows, into, from) of the products of `small` at 1 and 12, `medium` at 8, the gates of the LSTM.
_PRODUCTS = [
    *[(64, n, k) for n, k in ((384, 128), (128, 128), (512, 128), (128, 512), (65, 128))],
    *[(768, n, k) for n, k in ((384, 128), (128, 128), (512, 128), (128, 512), (65, 128))],
    *[(2048, n, k) for n, k in ((768, 256), (1024, 256), (256, 1024))],
    *[(rows, 1024, 256) for rows in (1, 32, 8192)],
]

OPS = [
    _op("add-8", "add", 1.0, shape=[8]),
    *[_op(f"matmul-{m}x{n}x{k}", "matmul", m=m, n=n, k=k) for m, n, k in _PRODUCTS],
    *[
        _op(f"{op}-{rows}x{columns}", op, shape=[rows, columns])
        for op, columns in (("layer_norm", 128), ("gelu", 512), ("softmax", 64))
        for rows in (64, 768, 4096)
    ],
    *[_op(f"cross_entropy-{n}x65", "cross_entropy", shape=[n, 65]) for n in (64, 768, 4096)],
    *[
        _op(f"attention-{b}x{h}x{t}x{d}", "attention", shape=[b, h, t, d])
        for b, h, t, d in ((1, 4, 64, 32), (12, 4, 64, 32), (8, 8, 256, 32))
    ],
    *[
        _op(f"embedding-{n}x128", "embedding", rows=n, vocab=VOCABULARY, width=128)
        for n in (64, 768, 4096)
    ],
    # Parameters of `small` in all their tensors, and ten million in ten.
    _op("adam-0.4M", "adam", of="small"),
    _op("adam-10M", "adam", of="10M"),
]

MEMORY = Case("memory-small-b12", "memory", "gpt", {**SMALL, "batch": 12})
MEMORY_TARGET = 0.25  # of PyTorch's

GROWTH_CONTEXTS = (64, 128, 256, 512, 1024)
GROWTH_LAYERS = (1, 2, 4, 8, 12, 24)


def growth(what: str, value: int) -> Case:
    """`small` with another context or another number of layers."""
    sizes = {**SMALL, what: value, "batch": 4}
    return Case(f"{what}-{value}", "growth", "gpt", sizes)


TIMED = [*STEPS, *GENERATE, *OPS]
GROUPS = ("steps", "generate", "ops", "memory", "growth")


def select(names: list[str] | None) -> tuple[list[Case], list[str]]:
    """The timed cases of these names or groups, and the other groups wanted.

    Raises:
        ValueError: a name that is neither.
    """
    if names is None:
        return list(TIMED), ["memory", "growth"]
    known = {case.name for case in TIMED} | set(GROUPS)
    for name in names:
        if name not in known and not any(case.name.startswith(f"{name}-") for case in TIMED):
            raise ValueError(f"there is no case {name!r}; --list names them")
    chosen = [
        case
        for case in TIMED
        if any(n in (case.name, case.group) or case.name.startswith(f"{n}-") for n in names)
    ]
    return chosen, [group for group in ("memory", "growth") if group in names]


def describe(case: Case) -> dict[str, Any]:
    """For JSON."""
    return asdict(case)
