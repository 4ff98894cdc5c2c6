"""When which level is due; statistics and state."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinytape.nested import ChunkedUpdateScheduler

CHUNKS = {"level1_fast": 1, "level2_medium": 16, "level3_slow": 256}


def due(scheduler: ChunkedUpdateScheduler, level: str, steps: int) -> list[int]:
    return [step for step in range(steps + 1) if scheduler.should_update(level, step)]


def test_levels_are_due_at_multiples_counted_from_one():
    scheduler = ChunkedUpdateScheduler(CHUNKS)
    assert due(scheduler, "level1_fast", 5) == [1, 2, 3, 4, 5]
    assert due(scheduler, "level2_medium", 40) == [16, 32]
    assert due(scheduler, "level3_slow", 600) == [256, 512]
    assert scheduler.levels == list(CHUNKS)


def test_chunks_of_tokens():
    scheduler = ChunkedUpdateScheduler(
        {"a": 100, "b": 64, "c": 10}, unit="tokens", tokens_per_step=64
    )
    # 64, 128, 192, 256, 320, 384, 448 tokens are read by the steps 1, 2, ...
    assert due(scheduler, "a", 7) == [2, 4, 5, 7]
    assert due(scheduler, "b", 4) == [1, 2, 3, 4]
    assert due(scheduler, "c", 4) == [1, 2, 3, 4]
    expected = {k: s["expected_updates"] for k, s in scheduler.get_stats(7).items()}
    assert expected == {"a": 4, "b": 7, "c": 7}


def test_statistics():
    scheduler = ChunkedUpdateScheduler({"fast": 1, "slow": 4})
    for step in range(1, 7):
        for level in scheduler.levels:
            if scheduler.should_update(level, step):
                scheduler.mark_updated(level, step)
    assert scheduler.get_stats(6) == {
        "fast": {
            "chunk_size": 1,
            "update_count": 6,
            "expected_updates": 6,
            "last_update_step": 6,
            "steps_since_update": 0,
        },
        "slow": {
            "chunk_size": 4,
            "update_count": 1,
            "expected_updates": 1,
            "last_update_step": 4,
            "steps_since_update": 2,
        },
    }
    assert scheduler.get_update_count("fast") == 6
    assert scheduler.should_zero_grad("fast", 6)
    assert not scheduler.should_zero_grad("slow", 6)
    assert scheduler.should_zero_grad("slow", 4)
    lines = scheduler.table(6).splitlines()
    assert lines[0].split() == ["level", "chunk", "updates", "expected", "last", "pending"]
    assert lines[2].split() == ["slow", "4", "1", "1", "4", "2"]
    assert len({len(line) for line in lines}) == 1
    scheduler.reset()
    assert scheduler.get_update_count("fast") == 0
    assert scheduler.get_stats(3)["slow"]["steps_since_update"] == 3


def test_nothing_is_printed(capsys):
    scheduler = ChunkedUpdateScheduler(CHUNKS)
    scheduler.reset()
    assert repr(scheduler) == (
        "ChunkedUpdateScheduler(level1_fast=1, level2_medium=16, level3_slow=256)"
    )
    assert capsys.readouterr() == ("", "")


def test_state():
    scheduler, other = ChunkedUpdateScheduler(CHUNKS), ChunkedUpdateScheduler(CHUNKS)
    scheduler.mark_updated("level2_medium", 16)
    state = scheduler.state_dict()
    other.load_state_dict(state)
    assert other.get_stats(20) == scheduler.get_stats(20)
    scheduler.mark_updated("level2_medium", 32)
    assert state["update_counts"]["level2_medium"] == 1
    for wrong in (
        {},
        {"last_update_step": {"a": 1}, "update_counts": {"a": 1}},
        state | {"update_counts": dict.fromkeys(CHUNKS, -1)},
        state | {"update_counts": dict.fromkeys(CHUNKS, 0.5)},
    ):
        with pytest.raises(ValueError, match="load_state_dict: expected"):
            other.load_state_dict(wrong)
        assert other.state_dict() == state


def test_integers_of_numpy_become_pythons():
    scheduler = ChunkedUpdateScheduler(
        {"a": np.int64(3)}, unit="tokens", tokens_per_step=np.int32(1)
    )
    scheduler.mark_updated("a", np.int64(3))
    state = scheduler.state_dict()
    assert json.loads(json.dumps(state)) == state
    scheduler.load_state_dict({name: {"a": np.int64(3)} for name in state})
    json.dumps([scheduler.state_dict(), scheduler.get_stats(np.int64(4)), scheduler.chunk_sizes])
    assert type(scheduler.tokens_per_step) is int
    for answer in (scheduler.should_update, scheduler.should_zero_grad):
        assert [answer("a", np.int64(step)) is True for step in (2, 3)] == [False, True]
        assert answer("a", np.int64(2)) is False


@pytest.mark.parametrize(
    "method", ["should_update", "mark_updated", "should_zero_grad", "get_update_count"]
)
def test_an_unknown_level_is_answered_with_those_that_are_known(method):
    scheduler = ChunkedUpdateScheduler(CHUNKS)
    step = () if method == "get_update_count" else (1,)
    with pytest.raises(
        ValueError, match=r"unknown level 'x'.*level1_fast, level2_medium, level3_slow"
    ):
        getattr(scheduler, method)("x", *step)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ({}, {}, "at least one level"),
        ({"a": 0}, {}, "chunk of a to be an int >= 1, got 0"),
        ({"a": True}, {}, "got True"),
        ({"a": 1.5}, {}, "got 1.5"),
        ({"a": 1}, {"unit": "words"}, "steps or tokens, got 'words'"),
        ({"a": 1}, {"unit": "tokens"}, "tokens_per_step is needed"),
        ({"a": 1}, {"tokens_per_step": 3}, "only for it"),
        ({"a": 1}, {"unit": "tokens", "tokens_per_step": 0}, "got 0"),
    ],
)
def test_errors(args, options, message):
    with pytest.raises(ValueError, match=message):
        ChunkedUpdateScheduler(args, **options)
    with pytest.raises(TypeError, match="chunk_sizes to be a dict of chunks by level, got list"):
        ChunkedUpdateScheduler([1, 2])


@pytest.mark.parametrize("step", [-1, 1.0, True, "1", np.array([1, 2])])
def test_a_step_is_a_count(step):
    with pytest.raises(ValueError, match="should_update: expected a step to be an int >= 0"):
        ChunkedUpdateScheduler(CHUNKS).should_update("level1_fast", step)
