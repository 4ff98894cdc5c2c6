"""The caller's arrays: backward does not read them again.

``tt_apply`` collects the inputs of an operation in an array on its stack, which is gone when it
returns; ``tape_add_op`` keeps a copy. This test also overwrites the arrays given to ``tt_apply``
after each call, and releases handles early. ``tests/c/test_tape.c`` tests ``tape_add_op`` alone. In
both, AddressSanitizer would report errors that a gradient might not show.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from tinytape._ffi import OPS, ffi, lib

from .promise import Outcome, Promise

SIZE, LEAVES, MOST_OPS = 3, 4, 30
Array = np.ndarray


class Program:
    """Random operations on small whole numbers, whose gradients are exact in float64."""

    def __init__(self, rng: random.Random) -> None:
        self.context = lib.tt_ctx_new()
        self.rng = rng
        self.inputs, self.out = ffi.new("tt_handle[8]"), ffi.new("tt_handle[3]")
        self.ints, self.reals = ffi.new("int64_t[12]"), ffi.new("double[4]")
        self.shape = ffi.new("int64_t[1]", [SIZE])
        self.decoy = self.leaf(np.full(SIZE, 1e6))
        self.values = [
            np.array([rng.randint(-3, 3) for _ in range(SIZE)], np.float64) for _ in range(LEAVES)
        ]
        self.handles = [self.leaf(v) for v in self.values]
        self.made: list[tuple[str, int, int]] = []  # an operation and the places of its inputs

    def check(self, status: int) -> None:
        if status:
            raise RuntimeError(ffi.string(lib.tt_error_message()).decode())

    def leaf(self, values: Array) -> int:
        data = ffi.from_buffer("double[]", values)
        self.check(
            lib.tt_new(
                self.context, lib.TT_POOL_DATA, lib.TT_FLOAT64, 1, self.shape, data, self.out
            )
        )
        self.check(lib.tt_set_requires_grad(self.context, self.out[0], 1))
        return int(self.out[0])

    def record(self) -> None:
        """One operation, on what is left of the handles; its input is then let go now and then."""
        held = [i for i, h in enumerate(self.handles) if h]
        name = self.rng.choice(("add", "sub", "mul") if len(self.made) % 4 else ("add", "sub"))
        a, b = self.rng.choice(held), self.rng.choice(held)
        if name == "mul" and max(np.abs(self.values[a]).max(), np.abs(self.values[b]).max()) > 1e3:
            name = "sub"  # numbers stay exact
        self.inputs[0], self.inputs[1] = self.handles[a], self.handles[b]
        self.check(
            lib.tt_apply(
                self.context, OPS[name], 2, self.inputs, 0, self.ints, 0, self.reals, self.out
            )
        )
        self.handles.append(int(self.out[0]))
        for i in range(8):  # the caller has other uses for its arrays
            self.inputs[i] = self.decoy
        self.out[0] = self.decoy
        x, y = self.values[a], self.values[b]
        self.values.append({"add": x + y, "sub": x - y, "mul": x * y}[name])
        self.made.append((name, a, b))
        if a >= LEAVES and self.rng.random() < 0.3:
            self.check(lib.tt_release(self.context, self.handles[a]))
            self.handles[a] = 0

    def expected(self) -> list[Array]:
        """The gradients of the leaves, by hand."""
        grads = [np.zeros(SIZE) for _ in self.values]
        grads[-1] += 1
        for k in range(len(self.made) - 1, -1, -1):
            name, a, b = self.made[k]
            g = grads[LEAVES + k]
            grads[a] += g * self.values[b] if name == "mul" else g
            grads[b] += g * self.values[a] if name == "mul" else -g if name == "sub" else g
        return grads[:LEAVES]

    def found(self) -> list[Array]:
        ones = self.leaf(np.ones(SIZE))
        root, seed = ffi.new("tt_handle[]", [self.handles[-1]]), ffi.new("tt_handle[]", [ones])
        self.check(lib.tt_backward(self.context, 1, root, seed, 0, ffi.NULL, 0, 0, ffi.NULL))
        grads = []
        for handle in [*self.handles[:LEAVES], self.decoy]:
            array = np.zeros(SIZE)
            self.check(lib.tt_get_grad(self.context, handle, self.out))
            if self.out[0]:
                to = ffi.from_buffer("double[]", array)
                self.check(lib.tt_read(self.context, self.out[0], to, array.nbytes))
            grads.append(array)
        return grads

    def wrong(self) -> str | None:
        try:
            for _ in range(self.rng.randint(1, MOST_OPS)):
                self.record()
            expected = [*self.expected(), np.zeros(SIZE)]
            found = self.found()
        except RuntimeError as error:
            return f"{self.made}: {error}"
        finally:
            lib.tt_ctx_free(self.context)
        if all((a == b).all() for a, b in zip(found, expected, strict=True)):
            return None
        return f"{self.made}: gradients {found}, expected {expected}"


def run(count: int, seed: int, say: Callable[[str], None]) -> Outcome:
    rng = random.Random(seed)
    outcome = Outcome(count)
    for i in range(count):
        wrong = Program(rng).wrong()
        if wrong:
            outcome.failures.append(f"program {i}: {wrong}")
        if (i + 1) % 5000 == 0:
            say(f"{i + 1:,} programs")
    return outcome


PROMISE = Promise(
    words="tape_add_op keeps its own copy of the caller's arrays",
    how="random graphs whose arrays of inputs are overwritten before backward, compared with "
    "gradients derived by hand; tape_add_op on a stack frame that has ended, under "
    "AddressSanitizer (tools/sanitizers.sh)",
    wanted="right gradients, no report",
    quick=300,
    full=20_000,
    run=run,
)
