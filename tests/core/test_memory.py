"""Memory, exactly: ordinary loops run flat, whatever happens in them, and nothing is lost.

Every test runs in a context of its own. The statistics of one iteration are compared whole with
those of the next: bytes in use, high-water marks, capacities, handles, nodes, and the number of
allocations that the process asked the system for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

import tinytape as tt
from tinytape import models, nn
from tinytape._ffi import ffi, lib
from tinytape.nn import functional as F

BATCH, VOCAB = 3, 65
OPTIMIZERS = {
    "sgd": lambda p: tt.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: tt.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: tt.optim.AdamW(p, lr=1e-3),
}


class Run:
    """A tiny transformer in training; ``step`` is the loop that everybody writes."""

    def __init__(self, optimizer: str = "adamw", dropout: float = 0.0, context: int = 8) -> None:
        generator = tt.Generator(1)
        self.model = models.create(
            "tiny", VOCAB, context=context, dropout=dropout, generator=generator
        )
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.rng = np.random.default_rng(0)
        self.context = context

    def loss(self, length: int | None = None) -> tt.Tensor:
        length = self.context if length is None else length
        tokens = self.rng.integers(0, VOCAB, (BATCH, length + 1))
        logits = self.model(tt.tensor(tokens[:, :-1]))
        target = tt.tensor(tokens[:, 1:].reshape(-1))
        return F.cross_entropy(logits.reshape(-1, VOCAB), target)

    def step(self) -> tt.Tensor:
        loss = self.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def weights(self) -> list[np.ndarray]:
        return [p.numpy() for p in self.model.parameters()]


def stay_flat(step: Callable[[], object], rounds: int = 40, settled: int = 3) -> dict[str, int]:
    """Run step and hold the statistics after each round from `settled` on against each other."""
    after = []
    for _ in range(rounds):
        step()
        after.append(tt.memory_stats())
    for i, stats in enumerate(after[settled:], settled):
        changed = {k: (after[settled - 1][k], v) for k, v in stats.items()}
        changed = {k: pair for k, pair in changed.items() if pair[0] != pair[1]}
        assert not changed, (i, changed)
    return after[-1]


# ---- loops ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_plain_loop_is_flat(in_new_context, optimizer, dropout):
    def body():
        run = Run(optimizer, dropout)
        stats = stay_flat(lambda: run.step().item())
        assert stats["step_used"] == stats["tape_nodes"] == stats["held_tensors"] == 0
        assert stats["step_chunks"] == 1
        assert stats["step_capacity"] >= stats["step_high_water"] > 0

    in_new_context(body)


def test_the_plain_loop_is_flat_for_a_thousand_steps(in_new_context):
    """A step arena of several chunks at first, merged into one of the high-water size."""

    def body():
        run = Run(context=32)
        stats = stay_flat(lambda: run.step().item(), rounds=200)
        assert stats["step_chunks"] == 1
        assert stats["step_capacity"] == stats["step_high_water"] > 1 << 20
        w = tt.randn(4, requires_grad=True)

        def small_step():
            (w * w).sum().backward()
            w.grad = None

        stay_flat(small_step, rounds=1000)

    in_new_context(body)


def test_a_loop_without_gradients_is_flat(in_new_context):
    def body():
        run = Run()

        def step():
            with tt.no_grad():
                return run.loss().item()

        stats = stay_flat(step)
        assert stats["tape_nodes"] == stats["step_high_water"] == 0

    in_new_context(body)


def test_training_with_evaluations_between_is_flat(in_new_context):
    def body():
        run = Run()

        def step():
            run.step()
            run.model.eval()
            with tt.no_grad():
                for _ in range(2):
                    run.loss().item()
            run.model.train()

        stay_flat(step, rounds=20)

    in_new_context(body)


def test_a_forward_only_loop_with_gradients_on_is_bounded(in_new_context):
    """loss = model(x), again and again, never backward: there is always a graph that is held."""

    def body():
        run = Run(context=32)
        most = [0, 0]
        for half in range(2):
            for _ in range(300):
                loss = run.loss()
                stats = tt.memory_stats()
                most[half] = max(most[half], stats["step_capacity"])
                assert stats["held_tensors"] == 1
        assert most[1] <= most[0] <= 64 << 20, most  # one step takes 1 MB
        loss.backward()
        del loss
        assert tt.memory_stats()["tape_nodes"] == 0
        run.optimizer.zero_grad()
        stay_flat(lambda: run.step().item(), rounds=8, settled=4)

    in_new_context(body)


def test_a_forward_only_loop_that_drops_its_result_is_flat(in_new_context):
    def body():
        run = Run()
        stay_flat(lambda: run.loss().item())

    in_new_context(body)


def test_a_loop_with_second_order_gradients_is_flat(in_new_context):
    def body():
        x = tt.tensor(np.linspace(-1, 1, 12).reshape(4, 3), requires_grad=True)
        w = tt.tensor(np.linspace(-1, 2, 9).reshape(3, 3), requires_grad=True)
        optimizer = tt.optim.Adam([w], lr=1e-2)

        def step():
            (g,) = tt.grad(F.linear(x, w).tanh().sum(), x, create_graph=True)
            penalty = (g * g).sum() + F.softmax(g, 1).log().mean()
            penalty.backward()
            optimizer.step()
            optimizer.zero_grad()
            x.grad = None

        stay_flat(step)

    in_new_context(body)


def test_a_loop_that_accumulates_gradients_is_flat(in_new_context):
    def body():
        run = Run()

        def step():
            for _ in range(3):
                (run.loss() * (1 / 3)).backward()
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=False)

        stay_flat(step, rounds=15)

    in_new_context(body)


def test_a_loop_over_graphs_that_live_side_by_side_is_flat(in_new_context):
    def body():
        run, other = Run(), Run("sgd")

        def step():
            a, b = run.loss(), other.loss()
            b.backward()
            a.backward()
            for r in (run, other):
                r.optimizer.step()
                r.optimizer.zero_grad()

        stay_flat(step, rounds=15)

    in_new_context(body)


def test_retained_graphs_end_with_their_last_holder(in_new_context):
    def body():
        run = Run()

        def step():
            loss = run.loss()
            loss.backward(retain_graph=True)
            loss.backward(retain_graph=True)
            run.optimizer.zero_grad()

        assert stay_flat(step, rounds=15)["tape_nodes"] == 0

    in_new_context(body)


def test_lengths_that_change_are_flat_once_the_longest_was_seen(in_new_context):
    def body():
        run = Run(context=32)

        def rounds():
            for length in (32, 1, 7, 31, 16):
                run.loss(length).backward()
                run.optimizer.step()
                run.optimizer.zero_grad()

        stay_flat(rounds, rounds=8)

    in_new_context(body)


# ---- what is held --------------------------------------------------------------------------------


def test_tensors_held_over_steps_cost_only_themselves(in_new_context):
    def body():
        run = Run()
        held: list[tt.Tensor] = []
        for _ in range(3):
            run.step()
        base = tt.memory_stats()
        values = []
        for k in range(1, 31):
            held.append(run.step())
            values.append(held[-1].item())
            stats = tt.memory_stats()
            assert stats["live_handles"] == base["live_handles"] + k
            assert stats["data_blocks"] == base["data_blocks"] + k
            assert stats["data_bytes"] == base["data_bytes"] + 64 * k
            same = ("step_used", "step_high_water", "step_capacity", "tape_nodes", "held_tensors")
            assert {s: stats[s] for s in same} == {s: base[s] for s in same}
        assert [x.item() for x in held] == values
        held.clear()
        stats = tt.memory_stats()
        assert stats["live_handles"] == base["live_handles"]
        assert stats["data_bytes"] == base["data_bytes"]

    in_new_context(body)


def test_activations_held_over_a_step_move_out_of_the_arena(in_new_context):
    def body():
        run = Run()
        kept = None

        def step():
            nonlocal kept
            logits = run.model(tt.tensor(np.arange(8)[None]))
            expected = logits.numpy()
            logits.exp().sum().backward()
            run.optimizer.zero_grad()
            np.testing.assert_array_equal(logits.numpy(), expected)
            kept = logits

        stats = stay_flat(step)
        assert stats["held_tensors"] == stats["step_used"] == 0

    in_new_context(body)


def test_exceptions_in_the_middle_of_a_step_leave_nothing(in_new_context):
    def body():
        run = Run()
        places = ("forward", "before backward", "after backward", "engine")

        def attempt(place):
            x = run.model.token_embedding(tt.tensor([1, 2, 3]))
            if place == "forward":
                raise KeyError(place)
            loss = (x * x).sum()
            if place == "before backward":
                raise KeyError(place)
            if place == "engine":
                loss + tt.zeros(5, 7) + tt.zeros(6)
            loss.backward()
            raise KeyError(place)

        def step():
            for place in places:
                with pytest.raises(ValueError if place == "engine" else KeyError):
                    attempt(place)
            run.optimizer.zero_grad()
            gc.collect()

        stats = stay_flat(step, rounds=12, settled=5)
        assert stats["tape_nodes"] == stats["step_used"] == 0

    in_new_context(body)


def test_parameters_and_state_are_counted_as_such(in_new_context):
    def body():
        empty = tt.memory_stats()
        assert empty["live_handles"] == empty["parameters_bytes"] == empty["state_bytes"] == 0
        run = Run()
        count = sum(p.numel() for p in run.model.parameters())
        stats = tt.memory_stats()
        assert 4 * count <= stats["parameters_bytes"] <= 1.3 * 4 * count
        assert 8 * count <= stats["state_bytes"] <= 1.3 * 8 * count
        run.loss().backward()
        assert tt.memory_stats()["parameters_bytes"] == 2 * stats["parameters_bytes"]
        run.optimizer.zero_grad()
        assert tt.memory_stats()["parameters_bytes"] == stats["parameters_bytes"]
        del run
        gc.collect()
        tt.empty_cache()
        left = tt.memory_stats()
        for key in ("live_handles", "step_capacity", "scratch_capacity", "pool_cached_bytes"):
            assert left[key] == 0, key
        assert all(
            v == 0
            for k, v in left.items()
            if k.endswith(("_blocks", "_bytes")) and not k.startswith("system")
        )

    in_new_context(body)


def test_a_context_gives_everything_back(in_new_context):
    """Models, graphs, gradients and held tensors of a thread end with it."""

    def body():
        run = Run()
        run.step()
        held = [run.loss(), run.loss().detach()]
        (g,) = tt.grad(run.loss(), [run.model.head.weight], create_graph=True)
        held.append(g)
        run.loss().backward()
        return None

    in_new_context(body)
    gc.collect()
    before = tt.memory_stats()["system_bytes"]
    for _ in range(3):
        in_new_context(body)
        gc.collect()
        assert tt.memory_stats()["system_bytes"] == before


def test_a_raw_context_gives_everything_back():
    """Without Python: even with handles that nobody released."""
    before = tt.memory_stats()["system_bytes"]
    ctx = lib.tt_ctx_new()
    shape, out = ffi.new("int64_t[]", [3, 4]), ffi.new("tt_handle *")
    handles = []
    for _ in range(3):
        assert lib.tt_new(ctx, lib.TT_POOL_DATA, lib.TT_FLOAT32, 2, shape, ffi.NULL, out) == 0
        assert lib.tt_set_requires_grad(ctx, out[0], 1) == 0
        handles.append(out[0])
    assert lib.tt_set_grad(ctx, handles[0], handles[1]) == 0
    mul = tt._ffi.OPS["mul"]
    none_i, none_r = ffi.new("int64_t[1]"), ffi.new("double[1]")
    for _ in range(3):
        pair = ffi.new("tt_handle[]", [handles[0], handles[-1]])
        assert lib.tt_apply(ctx, mul, 2, pair, 0, none_i, 0, none_r, out) == 0
        handles.append(out[0])
    assert tt.memory_stats()["system_bytes"] > before
    lib.tt_ctx_free(ctx)
    assert tt.memory_stats()["system_bytes"] == before
