"""What a nested model carries from batch to batch: sizes, resets, boundaries, saving."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest

import tinytape as tt
from tinytape.nested import NestedModelWithState

from ..support.nested_reference import Fast

B, T, C = 3, 6, 4
MEMORY = {"level2_medium": 2.0, "level3_slow": 5.0}
RNG = np.random.default_rng(0)


def features(*shape: int) -> tt.Tensor:
    return tt.tensor(RNG.standard_normal(shape or (B, T, C)), dtype=tt.float64)


def made(**options) -> NestedModelWithState:
    options = {"memory": MEMORY, "residual": True, **options}
    model = NestedModelWithState(C, 5, dtype=tt.float64, generator=tt.Generator(1), **options)
    for name in MEMORY:
        gain = getattr(model, name).memory_gain
        if gain is not None:
            gain.detach().fill_(0.7)
    return model


def states(model: NestedModelWithState) -> dict[str, np.ndarray]:
    """The tensors, with the batch in front."""
    arrays = {k: x for k, x in model.state_arrays().items() if "." in k}
    return {k: x[0] if x.ndim == 3 else x for k, x in arrays.items()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        assert a[name].dtype == b[name].dtype


def near(a, b) -> None:
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12, atol=1e-13)


def test_a_smaller_batch_keeps_the_first_rows_a_greater_one_adds_zeros():
    model, x = made(), features()
    model(x)
    before = states(model)
    assert len(before) == 4
    model.detach_states()
    with tt.no_grad():
        one = model(x.narrow(0, 0, 2))[0].numpy()
    alone = made()
    alone.load_state_dict(model.state_dict())
    arrays = {k: v[:2] if v.ndim == 2 else v[:, :2] for k, v in _as_saved(before).items()}
    alone.load_state_arrays(arrays | _counters())
    np.testing.assert_array_equal(alone(x.narrow(0, 0, 2))[0].numpy(), one)
    shrunk = states(model)
    assert {v.shape for v in shrunk.values()} == {(2, C)}
    with tt.no_grad():
        grown = model(features(4, T, C))
    assert model.get_state_info()["batch_size"] == 4
    fresh = made()
    fresh.load_state_dict(model.state_dict())
    padded = {k: np.concatenate([v, np.zeros((2, C))]) for k, v in shrunk.items()}
    fresh.load_state_arrays(_as_saved(padded) | _counters())
    assert grown[0].shape == (4, T, C)
    for name, v in padded.items():
        np.testing.assert_array_equal(states(fresh)[name], v)
        assert not v[2:].any()


def _as_saved(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v[None] if k.startswith("level1") else v for k, v in tensors.items()}


def _counters() -> dict[str, np.ndarray]:
    return {k: np.array(0) for k in ("steps_since_reset", "total_resets", "rows_reset")}


def test_new_rows_begin_as_a_new_model_does():
    model, x = made(), features(4, T, C)
    model(x.narrow(0, 0, 2))
    y = model(x)[0].numpy()
    near(y[2:], made()(x)[0].numpy()[2:])
    assert not np.allclose(y[:2], made()(x)[0].numpy()[:2])


def test_gradients_pass_a_change_of_the_batch():
    model, first, second = made(memory=None), features(), features(2, T, C)
    model(first)
    model(second)[0].sum().backward()
    other = made(memory=None)
    other(first.narrow(0, 0, 2))
    other(second)[0].sum().backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        near(p.grad, q.grad)


def test_reset_and_counters():
    model = made()
    assert model.get_state_info() == {
        "has_states": False,
        "steps_since_reset": 0,
        "total_resets": 0,
        "rows_reset": 0,
    }
    assert model.lstm_hidden is None
    for _ in range(3):
        model(features())
    info = model.get_state_info()
    assert (info["has_states"], info["steps_since_reset"], info["total_resets"]) == (True, 3, 0)
    assert info["hidden_shape"] == (1, B, C)
    h, c = (x.numpy() for x in model.lstm_hidden)
    near(info["hidden_norm"], np.linalg.norm(h))
    near(info["cell_norm"], np.linalg.norm(c))
    assert info["memory_norms"].keys() == MEMORY.keys()
    assert all(norm > 0 for norm in info["memory_norms"].values())
    model.reset_states(2)
    assert all(not v.any() and v.shape == (2, C) for v in states(model).values())
    assert (model.steps_since_reset, model.total_resets) == (0, 1)
    model(features(), reset_states=True)
    assert (model.steps_since_reset, model.total_resets) == (1, 2)
    model.reset_states()
    assert not model.get_state_info()["has_states"]
    with pytest.raises(ValueError, match="batch size >= 0, got -1"):
        model.reset_states(-1)


def test_resetting_rows():
    model = made()
    with pytest.raises(ValueError, match="there is no state yet"):
        model.reset_rows([True])
    model(features())
    before = states(model)
    model.reset_rows(np.array([False, True, False]))
    for name, now in states(model).items():
        assert not now[1].any()
        np.testing.assert_array_equal(now[[0, 2]], before[name][[0, 2]])
    assert model.get_state_info()["rows_reset"] == 1
    assert model.total_resets == 0
    for wrong in ([True, False], [0, 1, 0]):
        with pytest.raises(ValueError, match=r"reset_rows: expected mask to be bool of shape"):
            model.reset_rows(wrong)


def test_resetting_rows_forgets_what_is_not_finite():
    model = made()
    model(features())
    arrays = model.state_arrays()
    arrays["level1_fast.c"][0, 1] = np.nan
    model.load_state_arrays(arrays)
    model.reset_rows([False, True, False])
    assert np.isfinite(model(features())[0].numpy()).all()


@pytest.mark.parametrize("marked", [[(0, 0)], [(1, 3)], [(0, 2), (1, 2), (2, 5), (1, 0)], "all"])
def test_boundaries_are_separate_sequences(marked):
    """Every piece between two marks gives what it gives alone, and so do all gradients."""
    marks = np.zeros((B, T), bool)
    for at in [(slice(None),)] if marked == "all" else marked:
        marks[at] = True
    x, earlier, up = features(), features(), features()
    model = made(memory=None)
    model(earlier)
    model.detach_states()
    start = model.state_arrays()
    model.zero_grad()
    y, _ = model(x, boundaries=marks)
    (y * up).sum().backward()
    model.detach_states()

    alone = made(memory=None)
    expected = np.zeros((B, T, C))
    for b in range(B):
        edges = [0, *(t for t in range(1, T) if marks[b, t]), T]
        for i, (begin, end) in enumerate(pairwise(edges)):
            alone.load_state_arrays(
                {k: v[:, b : b + 1] if v.ndim == 3 else v for k, v in start.items()}
            )
            if i > 0 or marks[b, 0]:
                alone.reset_states(1)
            piece = (slice(b, b + 1), slice(begin, end))
            out, _ = alone(tt.tensor(x.numpy()[piece]))
            expected[piece] = out.numpy()
            (out * tt.tensor(up.numpy()[piece])).sum().backward()
        near(states(model)["level1_fast.h"][b], states(alone)["level1_fast.h"][0])
        near(states(model)["level1_fast.c"][b], states(alone)["level1_fast.c"][0])
    near(y, expected)
    for (name, p), q in zip(model.named_parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(
            p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name
        )
    assert model.get_state_info()["rows_reset"] == marks.sum()


def test_boundaries_against_numpy():
    rng = np.random.default_rng(3)
    marks = rng.random((B, T)) < 0.3
    model = made(memory=None)
    x = features()
    weights = {name: p.numpy() for name, p in model.named_parameters()}
    _, seen = model(x, compute_surprise=True, boundaries=tt.tensor(marks))
    zeros = np.zeros((B, C))
    expected, h, c = Fast(weights, residual=True).forward(x.numpy(), zeros, zeros, marks)
    near(seen["activations"]["level1_fast"], expected)
    near(states(model)["level1_fast.h"], h)
    near(states(model)["level1_fast.c"], c)


def test_memories_at_boundaries():
    """The last piece of a row is what a model that begins there remembers."""
    marks = np.zeros((B, T), bool)
    marks[0, 2] = marks[0, 4] = marks[1, 0] = True
    x, earlier = features(), features()
    model = made()
    model(earlier)
    before = model.state_arrays()
    y, _ = model(x, boundaries=marks)
    for row, begin in ((0, 4), (1, 0)):
        alone = made()
        out, _ = alone(tt.tensor(x.numpy()[row : row + 1, begin:]))
        near(y.numpy()[row, begin:], out.numpy()[0])
        for name, now in states(model).items():
            near(now[row], states(alone)[name][0])
    on = made()
    on.load_state_arrays(before)
    out, _ = on(x)
    near(y.numpy()[2], out.numpy()[2])
    near(y.numpy()[0, :2], out.numpy()[0, :2])
    for name, now in states(model).items():
        near(now[2], states(on)[name][2])


def test_no_boundary_is_as_if_none_were_given():
    x = features()
    a, b = made(), made()
    same_output = a(x, boundaries=np.zeros((B, T), bool))[0].numpy()
    np.testing.assert_array_equal(same_output, b(x)[0].numpy())
    same(states(a), states(b))
    with pytest.raises(ValueError, match=r"boundaries to be bool of shape \(3, 6\), got bool of"):
        a(x, boundaries=np.zeros((B, T - 1), bool))


def test_saving_goes_on_bit_for_bit():
    model, other = made(), made()
    other.load_state_dict(model.state_dict())
    for _ in range(2):
        model(features())
    model.detach_states()
    model.reset_rows([True, False, False])
    saved = model.state_arrays()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    other.load_state_arrays(saved)
    same(other.state_arrays(), saved)
    x = features()
    np.testing.assert_array_equal(other(x)[0].numpy(), model(x)[0].numpy())
    same(other.state_arrays(), model.state_arrays())
    assert not np.array_equal(saved["level1_fast.h"], model.state_arrays()["level1_fast.h"])
    empty = made().state_arrays()
    other.load_state_arrays(empty)
    assert other.lstm_hidden is None
    assert other.steps_since_reset == 0


def test_loading_what_does_not_fit_changes_nothing():
    model = made()
    model(features())
    saved = model.state_arrays()
    h = saved["level1_fast.h"]
    for change, message in [
        ({"level1_fast.h": h[:, :, :1]}, r"level1_fast.h: expected floats of shape \(1, 3, 4\)"),
        ({"level2_medium.memory": h[0, :2]}, "level2_medium.memory: expected floats"),
        ({"level2_medium.memory": None}, "missing level2_medium.memory"),
        ({"total_resets": None}, "missing total_resets"),
        ({"total_resets": np.array(-1)}, "total_resets: expected a count"),
        ({"other": h}, "unexpected other"),
    ]:
        wrong = {k: v for k, v in (saved | change).items() if v is not None}
        with pytest.raises(ValueError, match=message):
            model.load_state_arrays(wrong)
        same(model.state_arrays(), saved)


def test_an_evaluation_in_between_leaves_no_trace():
    model = made()
    model(features())
    model.detach_states()
    before = model.state_arrays()
    with model.fresh_states(), tt.no_grad():
        assert model.lstm_hidden is None
        model(features(5, T, C))
    same(model.state_arrays(), before)


def test_a_model_of_another_type_takes_its_state_along():
    model = made()
    model(features())
    model.detach_states()
    model.float()
    y, _ = model(features().float())
    assert y.dtype is tt.float32
    assert model.state_arrays()["level1_fast.h"].dtype == np.float32


def test_a_refused_batch_changes_nothing():
    model = made()
    model(features())
    saved = model.state_arrays()
    for call in (
        lambda: model(features(2, T, C).float(), reset_states=True),
        lambda: model(features(2, T, C).float()),
        lambda: model(features(2, T, C + 1), reset_states=True),
        lambda: model(features(2, T, C), boundaries=[[True]], reset_states=True),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
        same(model.state_arrays(), saved)


def test_copies_are_independent():
    model = made()
    model(features())
    model.detach_states()
    copied = copy.deepcopy(model)
    pickled = pickle.loads(pickle.dumps(model))
    x, before = features(), model.state_arrays()
    outputs = [m(x)[0].numpy() for m in (copied, pickled)]
    same(model.state_arrays(), before)
    for y in outputs:
        np.testing.assert_array_equal(y, model(x)[0].numpy() if y is outputs[0] else outputs[0])


@pytest.mark.parametrize("pieces", [1, 2, 8])
def test_a_text_is_forgotten_as_fast_however_it_is_cut(pieces: int) -> None:
    """What the levels give is zero here, so that a memory only fades."""
    model = made(residual=False, memory_length=4)
    for name in MEMORY:
        for weight in getattr(model, name).proj.parameters():
            weight.detach().zero_()
    arrays = {f"{name}.memory": np.ones((B, C)) for name in MEMORY}
    lstm = {f"level1_fast.{part}": np.zeros((1, B, C)) for part in "hc"}
    model.load_state_arrays(arrays | lstm | _counters())
    x = features(B, 8, C)
    for at in range(0, 8, 8 // pieces):
        model(x.narrow(1, at, 8 // pieces))
        model.detach_states()
    for name, tau in MEMORY.items():
        near(states(model)[f"{name}.memory"], np.exp(-8 / (4 * tau)))


def test_memory_is_flat_over_many_steps(in_new_context):
    kept = ("held_tensors", "live_handles", "tape_nodes", "data_bytes", "state_bytes")

    def run() -> list[dict[str, int]]:
        model = NestedModelWithState(C, 5, memory=MEMORY)
        optimizer = tt.optim.SGD(model.parameters(), lr=1e-3)
        rng, seen = np.random.default_rng(0), []
        for step in range(400):
            x = tt.tensor(rng.standard_normal((B, T, C)), dtype=tt.float32)
            y, _ = model(x, boundaries=rng.random((B, T)) < 0.1)
            (y * y).mean().backward()
            model.detach_states()
            optimizer.step()
            optimizer.zero_grad()
            if step % 100 == 99:
                stats = tt.memory_stats()
                seen.append({name: stats[name] for name in kept})
        assert np.isfinite(model.state_arrays()["level1_fast.h"]).all()
        return seen

    first, *_, last = in_new_context(run)
    assert first == last
