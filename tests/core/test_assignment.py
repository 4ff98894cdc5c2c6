"""x[...] = value, and what else writes in place: what it costs, overlaps, and the tape's rules."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

import tinytape as tt
from tinytape._ffi import lib
from tinytape.context import empty_cache, memory_stats

# ---- what it costs -------------------------------------------------------------------------------

LARGE = (4096, 512)  # of float32 8 MiB
LITTLE = 1 << 18


def memory_of(work):
    """The most that numpy held at a time while tinytape got LITTLE from the system, or less."""
    work()  # what is made once is there
    empty_cache()
    lib.tt_set_memory_limit(memory_stats()["system_bytes"] + LITTLE)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        lib.tt_set_memory_limit(0)


ROW = np.ones(512, np.float32)
WRITES = {
    "x[i] = number": lambda x: x.__setitem__(7, 1.5),
    "x[i] = tensor": lambda x: x.__setitem__(7, tt.ones(512)),
    "x[i] = array": lambda x: x.__setitem__(7, ROW),
    "x[i, j]": lambda x: x.__setitem__((-1, 3), 2),
    "x[a:b]": lambda x: x.__setitem__(slice(3, 9), 2),
    "x[:, j]": lambda x: x.__setitem__((slice(None), 3), 2.0),
    "x[list]": lambda x: x.__setitem__([5, 3, 3], 2.0),
    "x[:, list]": lambda x: x.__setitem__((slice(None), [1, 0]), 2.0),
    "x[a, b]": lambda x: x.__setitem__(([1, 2], [3, 4]), tt.tensor([1.0, 2.0])),
    "x[rows]": lambda x: x.__setitem__(MASK, 2.0),
    "x[rows] = row": lambda x: x.__setitem__(tt.tensor(MASK), tt.ones(1, 512)),
    "x[i] += 1": lambda x: x.__setitem__(7, x[7].__iadd__(1)),
    "x[list] += 1": lambda x: x.__setitem__([7, 8], x[[7, 8]].__iadd__(1)),
    "x[1:] = x[0]": lambda x: x.__setitem__(slice(1, None), np.float32(3)),
    "fill_": lambda x: x.fill_(3),
    "zero_": lambda x: x.zero_(),
    "copy_ of a row": lambda x: x.copy_(tt.ones(512)),
    "copy_": lambda x: x.copy_(OTHER),
    "x[:] = tensor": lambda x: x.__setitem__(slice(None), OTHER),
    "x[...] = column": lambda x: x.__setitem__(Ellipsis, tt.ones(4096, 1)),
    "x[a:b] = x[c:d]": lambda x: x.__setitem__(slice(0, 2048), x[2048:]),
    "x.T = tensor": lambda x: x.t().__setitem__(Ellipsis, OTHER.t()),
}
MASK = np.arange(4096) % 1000 == 0
OTHER = tt.full(LARGE, 2.0)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_write_asks_for_no_memory_beyond_what_it_writes(write):
    x = tt.zeros(LARGE)
    assert memory_of(lambda: write(x)) < LITTLE


def test_a_write_by_a_full_mask_asks_for_the_mask_at_most():
    x = tt.zeros(LARGE)
    mask = tt.tensor(np.random.default_rng(0).random(LARGE) < 0.9)
    assert memory_of(lambda: x.__setitem__(mask, 1.0)) < LITTLE
    assert x.sum().item() == mask.sum().item()


def test_rows_are_written_one_by_one():
    x = tt.zeros(300, 17)
    for i in range(300):
        x[i] = float(i)
        x[i] += i
        x[i, 3] = tt.tensor(-i)
    expected = np.repeat(2.0 * np.arange(300)[:, None], 17, 1)
    expected[:, 3] = -np.arange(300)
    np.testing.assert_array_equal(x.numpy(), expected)


# ---- what is read is what was there before -------------------------------------------------------


def square(kind=np.float32):
    return np.arange(36).reshape(6, 6).astype(kind)


OVERLAPS = {
    "down": lambda x: x.__setitem__(slice(1, None), x[:-1]),
    "up": lambda x: x.__setitem__(slice(None, -1), x[1:]),
    "right": lambda x: x.__setitem__((slice(None), slice(1, None)), x[:, :-1]),
    "steps": lambda x: x.__setitem__(slice(None, None, 2), x[1::2]),
    "one row": lambda x: x.__setitem__(slice(None), x[2]),
    "one column": lambda x: x.__setitem__(slice(None), x[:, 1:2]),
    "itself": lambda x: x.__setitem__(slice(None), x),
    "transposed": lambda x: x.__setitem__(slice(None), x.T),
    "half transposed": lambda x: x.__setitem__((slice(0, 3), slice(3, 6)), x.T[0:3, 3:6]),
    "by a list": lambda x: x.__setitem__([1, 0, 3], x[0:3]),
    "picked": lambda x: x.__setitem__([1, 0], x[[0, 1]]),
    "by columns": lambda x: x.__setitem__((slice(None), [5, 0, 1]), x[:, 0:3]),
    "masked": lambda x: x.__setitem__(np.arange(6) % 2 == 0, x[1:2]),
    "added": lambda x: x.__iadd__(x.T),
    "multiplied": lambda x: x.__setitem__(slice(1, None), x[1:] * x[:-1]),
}


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.uint8])
@pytest.mark.parametrize("write", OVERLAPS.values(), ids=OVERLAPS)
def test_source_and_destination_may_overlap(write, kind):
    expected = square(kind)
    x = tt.tensor(square(kind))
    write(expected)
    write(x)
    np.testing.assert_array_equal(x.numpy(), expected)


def test_a_mask_may_be_what_it_changes():
    for mask in (
        lambda b: b,
        lambda b: b.T,
        lambda b: b[::-1] if isinstance(b, np.ndarray) else b.flip(0),
    ):
        values = square() % 5 > 2
        x = tt.tensor(values)
        x[mask(x)] = False
        values[mask(values).copy()] = False
        np.testing.assert_array_equal(x.numpy(), values)
    places = np.array([2, 0, 1])
    x = tt.tensor(places)
    x[x] = x
    places[places.copy()] = places.copy()
    assert x.tolist() == places.tolist()


def test_a_view_is_written_to():
    x = tt.zeros(2, 3, 4)
    x.permute(2, 0, 1)[1, :, 2] = tt.tensor([1.0, 2.0])
    x[0].t()[3][1:] = 5.0
    x.reshape(6, 4)[-1, ::2] = [7.0, 8.0]
    expected = np.zeros((2, 3, 4))
    expected[:, 2, 1] = [1, 2]
    expected[0, 1:, 3] = 5
    expected[1, 2, ::2] = [7, 8]
    np.testing.assert_array_equal(x.numpy(), expected)


def test_adding_in_place_to_a_part():
    a = square()
    x = tt.tensor(a)
    for index in (2, slice(1, 4), (slice(None), 3), [0, 0, 5], (a > 20), ([1, 1], [2, 3]), -1):
        a[index] += 2
        x[index] += 2
        a[index] *= 3
        x[index] *= 3
        np.testing.assert_array_equal(x.numpy(), a)


@pytest.mark.parametrize(
    "index",
    [slice(None), 0, [1, 0], (slice(None), [2, 1]), ([0, 1], [1, 2]), np.ones((2, 3), bool)],
    ids=str,
)
def test_a_value_of_another_type_is_converted(index):
    for kind in (np.float64, np.int64, np.bool_, np.int8):
        for given in (np.float64, np.int32, np.bool_):
            a = np.zeros((2, 3), kind)
            values = np.array([-1.5, 0, 300]).astype(given)
            values = values[: a[index].shape[-1]] if a[index].shape[-1] <= 3 else values[:1]
            x = tt.tensor(a)
            x[index] = tt.tensor(values)
            whole = values.astype(np.int64) if kind in (np.int64, np.int8) else values
            a[index] = whole.astype(kind)
            np.testing.assert_array_equal(x.numpy(), a)


# ---- the rules of the tape -----------------------------------------------------------------------

PARTS = {"whole": slice(None), "row": 0, "list": [0], "mask": np.array([True, False])}
parts = pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)


@parts
def test_what_backward_needs_and_was_written_to_is_noticed(part):
    x, w = tt.ones(2, 3), tt.ones(2, 3, requires_grad=True)
    y = (x * w).sum()
    x[part] = 2.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
    x, other = tt.ones(2, 3), tt.ones(2, 3)
    y = (x + w).sum() + (other * w).sum()
    x[part] = 2.0  # a sum needs nothing of it
    y.backward()
    assert w.grad.sum().item() == 12


@parts
def test_what_is_recorded_or_wants_gradients_is_refused_and_nothing_is_recorded(part):
    w = tt.ones(2, 3, requires_grad=True)
    result = w * 2
    freed = w * 3
    freed.sum().backward()
    view = result[0:2]
    nodes = memory_stats()["tape_nodes"]
    for tensor in (result, view):
        with pytest.raises(RuntimeError, match=r"index: .*recorded"):
            tensor[part] = 1.0
        with tt.no_grad(), pytest.raises(RuntimeError, match=r"index: .*recorded"):
            tensor[part] = 1.0
    with pytest.raises(RuntimeError, match=r"index: .*recorded"):
        freed[part] = 1.0
    with pytest.raises(RuntimeError, match=r"index: a leaf that requires grad.*no_grad"):
        w[part] = 1.0
    with pytest.raises(RuntimeError, match=r"index: .*source's gradient"):
        tt.zeros(2, 3)[part] = w[0:1]
    assert memory_stats()["tape_nodes"] <= nodes + 1  # of w[0:1]
    assert result.sum().item() == 12 and w.sum().item() == 6
    with tt.no_grad():
        w[part] = 5.0
        target = tt.zeros(2, 3)
        target[part] = w[0:1]
    assert w.requires_grad and w[0].tolist() == [5.0] * 3 == target[0].tolist()


def test_a_value_with_more_axes_than_its_place_or_the_wrong_ones():
    x = tt.zeros(2, 3)
    x[0] = tt.ones(1, 1, 3)
    x[1, [0, 2]] = np.ones((1, 2))
    assert x.tolist() == [[1, 1, 1], [1, 0, 1]]
    for index, value in (
        (0, np.ones((2, 3))),
        (0, [1.0, 2.0]),
        ([0, 1], tt.ones(3, 3)),
        ([[0, 1]], tt.ones(3, 3)),
        (np.ones((2, 3), bool), [1.0, 2.0]),
        (slice(0, 0), [1.0, 2.0]),
    ):
        with pytest.raises(ValueError, match=r"index: shape .* cannot be broadcast to"):
            x[index] = value
    assert x.sum().item() == 5


def test_places_without_a_place_of_their_own_are_refused():
    x = tt.zeros(1, 3).expand(2, 3)
    for index in (slice(None), (slice(None), 1), [0, 1], np.ones((2, 3), bool)):
        with pytest.raises(RuntimeError, match="index: an expanded tensor"):
            x[index] = 1.0
    assert x.sum().item() == 0


def test_nothing_is_written_where_there_is_nothing():
    x = tt.zeros(2, 0, 3)
    x[:] = 1.0
    x[0] = tt.ones(3)
    x[:, :, [0, 2]] = 2.0
    y = tt.zeros(3)
    y[[]] = 5.0
    y[2:2] = tt.zeros(0)
    y[np.zeros(3, bool)] = 5.0
    assert y.tolist() == [0, 0, 0]


def test_a_source_of_another_thread_is_refused():
    made = []
    thread = threading.Thread(target=lambda: made.append(tt.ones(3)))
    thread.start()
    thread.join()
    x = tt.zeros(2, 3)
    for index in (0, [0], np.array([True, False])):
        with pytest.raises(RuntimeError, match="thread"):
            x[index] = made[0]
    assert x.sum().item() == 0


@pytest.mark.parametrize("name", ["down", "transposed", "by a list", "masked"])
def test_a_write_that_gets_no_memory_changes_nothing(name):
    for k in range(1, 20):
        x = tt.tensor(square())
        empty_cache()
        lib.tt_fail_allocation(k, lib.TT_FAIL_FOR_EVER | lib.TT_FAIL_INSIDE)
        try:
            OVERLAPS[name](x)
            done = True
        except MemoryError:
            done = False
        finally:
            lib.tt_fail_allocation(0, 0)
        expected = square()
        if done:
            OVERLAPS[name](expected)
        np.testing.assert_array_equal(x.numpy(), expected)
        if done:
            return
    pytest.fail("it never got what it asked for")
