"""Saving and loading keep the same rules: what is saved is what is accepted, or it is not saved."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytape.errors import ArgumentError
from tinytape.training import CheckpointError, load_checkpoint, save_checkpoint
from tinytape.training.checkpoint import latest_checkpoint
from tinytape.training.state_tree import join_state, split_state

WHOLE: dict[str, Any] = {"model": {}, "arrays": {}, "state": {}, "config": {}, "env": {}}

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([10**19, 10**20, -(10**20), 2**53])
)
KEYS = st.one_of(
    st.sampled_from(
        [
            "step",
            "counters",
            "data",
            "generators",
            "model",
            "seed",
            "offset",
            "optimizer",
            "state",
            "param_groups",
            "scheduler",
            "last_epoch",
            "$array",
            "w",
            "train",
            "format",
            "corpus",
        ]
    ),
    st.text(max_size=3),
    st.integers(-3, 3),
)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4), st.just(b"bytes")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        inner.map(lambda x: (x,)),
    ),
    max_leaves=8,
)
PLAIN = st.dictionaries(
    st.text(max_size=3), st.one_of(st.floats(-9, 9), st.lists(st.text(max_size=2))), max_size=3
)
RECORDS = st.one_of(PLAIN, PLAIN, PLAIN, st.dictionaries(KEYS, TREES, max_size=4))
GOOD = st.dictionaries(st.text(max_size=2), st.sampled_from([np.zeros((2, 2)).T, np.array(True)]))
ANY = st.dictionaries(
    st.sampled_from(["w", "v", "", "__metadata__", "\ud800", "\x1b[2J"]),
    st.sampled_from(
        [
            np.zeros(2),
            np.ones((2, 0), np.float16),
            np.array(np.nan),
            np.array([np.inf], "f4"),
            np.array(3),
            np.zeros(1, complex),
            np.array(["x"]),
            np.array([True]),
            np.zeros((2, 2)).T,
        ]
    ),
    max_size=3,
)
ARRAYS = st.one_of(GOOD, GOOD, GOOD, ANY)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([0, 7, 2**53]), RECORDS, RECORDS, RECORDS, ARRAYS, ARRAYS)
def test_what_is_saved_is_accepted(
    step: int, state: Any, config: Any, env: Any, model: Any, arrays: Any
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as home:
        folder = Path(home) / "checkpoints"
        try:
            path = save_checkpoint(
                folder, step, model=model, arrays=arrays, state=state, config=config, env=env
            )
        except CheckpointError as error:
            assert len(str(error)) < 1000
            assert not folder.exists()  # it was left as it was
            return
        found = load_checkpoint(path)
        assert found.step == step
        for back, given_ in ((found.state, {**state, "step": step}), (found.config, config)):
            assert back == json.loads(json.dumps(given_))
        for mine, theirs in ((found.model, model), (found.arrays, arrays)):
            assert {n: (a.dtype, a.tobytes()) for n, a in mine.items()} == {
                n: (a.dtype, a.tobytes()) for n, a in theirs.items()
            }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": {"counters": {"loss_sum": float("nan")}}}, "state.json: cannot be written as J"),
        ({"state": {"counters": {"loss_sum": "1"}}}, "counters.loss_sum: expected a number"),
        ({"state": {"counters": []}}, "counters: expected an object"),
        ({"state": {"a": 10**20}}, "of 21 digits, expected at most 20"),
        ({"state": {1: 0, "1": 0}}, "state.json: "),
        ({"state": {"a": {1}}}, "state.json: cannot be written as JSON"),
        ({"state": {"a": {"$array": "w"}}}, "refers to 'w', which train_state.safetensors does"),
        ({"state": {"generators": {"model": {"seed": 2**64}}}}, "generators.model.seed: expected"),
        ({"config": {"train": {"lr": [1]}}}, "config.json: train.lr: expected"),
        ({"config": {"version": 2}}, "version: expected version 1, got 2"),
        ({"env": {"blas": {}}}, "env.json: blas: expected"),
        ({"model": {"w": np.array(np.nan)}}, "model.safetensors: w holds values that are not"),
        ({"arrays": {"w": np.zeros(1, "c8")}}, "train_state.safetensors: w: safetensors has no"),
        (
            {
                "config": {
                    "model": {
                        "architecture": "gpt",
                        "context": 4,
                        "width": 4,
                        "heads": 2,
                        "layers": 1,
                        "vocab_size": 5,
                    }
                }
            },
            "model.safetensors: 0 arrays of 0 values in all, but ",
        ),
    ],
)
def test_what_no_reader_takes_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    save_checkpoint(tmp_path, 1, **WHOLE)
    for step in (1, 2):  # it takes the place of nothing
        with pytest.raises(CheckpointError) as error:
            save_checkpoint(tmp_path, step, **{**WHOLE, **change})
        assert words in str(error.value), error.value
        assert f"step-0000000{step}" in str(error.value)
        found, problems = latest_checkpoint(tmp_path)
        assert found is not None and found.step == 1 and problems == []


@pytest.mark.parametrize("step", [-1, 2**53 + 1, 10**20, 1.0, True, "1", None])
def test_a_step_that_is_none(tmp_path: Path, step: Any) -> None:
    with pytest.raises(CheckpointError, match="step: expected a whole number"):
        save_checkpoint(tmp_path, step, **WHOLE)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_could_not_be_joined_is_not_split() -> None:
    x, y = np.zeros(1), np.ones(1)
    for tree, words in (
        ({"a.b": x, "a": {"b": y}}, "s.a.b: two arrays would have this name"),
        ({"a": {"$array": "w"}}, r"s.a: \$array is no name of a value"),
    ):
        with pytest.raises(ArgumentError, match=words):
            split_state(tree, "s")
    tree, arrays = split_state({"a": {"b": x}, "c": [1, {"d": y}]}, "s")
    assert join_state(tree, arrays) == {"a": {"b": x}, "c": [1, {"d": y}]}
