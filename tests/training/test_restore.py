"""A checkpoint that does not fit a session changes nothing of it, whatever part does not fit."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytape.errors import TinytapeError
from tinytape.training import TrainConfig, resolve
from tinytape.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tinytape.training.environment import environment
from tinytape.training.run_folder import RunFolder
from tinytape.training.session import Session, build_session
from tinytape.training.step import train_step

HEAD = "optimizer.state.head.bias.exp_avg"
GRADIENT = "gradient.head.bias"


def session_of(folder: Path) -> Session:
    text = folder / "text.txt"
    text.write_text("abracadabra, said the cat. " * 20)
    config = TrainConfig(
        model="tiny",
        data=str(text),
        batch_size=1,
        iters=50,
        dropout=0.1,
        gradient_accumulation_steps=2,
    )
    return build_session(resolve(dataclasses.replace(config, out=str(folder))))


def everything(session: Session) -> Any:
    """All that training changes, in plain values."""
    state, arrays = session.state()
    gradients = {f"gradient.{n}": p.grad for n, p in session.model.named_parameters()}
    values = {**session.weights(), **arrays}
    values.update({name: grad for name, grad in gradients.items() if grad is not None})
    return state, {name: np.array(value.numpy()).tobytes() for name, value in values.items()}


def saved(session: Session, folder: Path) -> Checkpoint:
    state, arrays = session.state()
    path = save_checkpoint(
        folder,
        session.counters.step,
        model=session.weights(),
        arrays=arrays,
        state=state,
        config=session.record(),
        env=environment(),
    )
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("run")
    session = session_of(folder)
    for _ in range(3):
        train_step(session, RunFolder(folder))
    assert train_step(session, RunFolder(folder), should_stop=lambda: True) is None
    assert session.counters.micro_step == 1  # gradients are part of the state
    return saved(session, folder / "checkpoints")


@pytest.fixture
def fresh(tmp_path: Path) -> Session:
    return session_of(tmp_path)


def test_all_of_it_is_taken_over(trained: Checkpoint, fresh: Session, tmp_path: Path) -> None:
    before = everything(fresh)
    fresh.restore(trained)
    again = saved(fresh, tmp_path / "again")
    assert everything(fresh) != before
    assert again.state == trained.state
    for mine, theirs in ((again.model, trained.model), (again.arrays, trained.arrays)):
        assert {n: a.tobytes() for n, a in mine.items()} == {
            n: a.tobytes() for n, a in theirs.items()
        }


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k != key}


BREAKS: dict[str, Any] = {
    "another text": lambda c: c.state["data"].update(sha256="0" * 64),
    "a weight is missing": lambda c: c.model.pop("head.bias"),
    "a weight too many": lambda c: c.model.update(extra=np.zeros(1, np.float32)),
    "a weight of another shape": lambda c: c.model.update({"head.bias": np.zeros(1, np.float32)}),
    "a weight of another dtype": lambda c: c.model.update(
        {"head.bias": c.model["head.bias"].astype(np.float64)}
    ),
    "a moment is missing": lambda c: c.arrays.pop(HEAD),
    "a moment too many": lambda c: c.arrays.update(extra=np.zeros(1, np.float32)),
    "a moment of another shape": lambda c: c.arrays.update({HEAD: np.zeros(1, np.float32)}),
    "a moment of another dtype": lambda c: c.arrays.update({HEAD: c.arrays[HEAD].astype(float)}),
    "a gradient is missing": lambda c: c.arrays.pop(GRADIENT),
    "a gradient of another shape": lambda c: c.arrays.update({GRADIENT: np.zeros((), "f4")}),
    "no gradients are expected": lambda c: c.state["counters"].update(micro_step=0),
    "another number of batches": lambda c: c.config["train"].update(gradient_accumulation_steps=3),
    "no settings": lambda c: c.config.pop("train"),
    "no state of a parameter": lambda c: c.state["optimizer"]["state"].pop("head.bias"),
    "no moment of a parameter": lambda c: c.state["optimizer"]["state"]["head.bias"].pop("exp_avg"),
    "a number for a moment": lambda c: c.state["optimizer"]["state"]["head.bias"].update(
        exp_avg=1.0
    ),
    "a moment for a number": lambda c: c.state["optimizer"]["state"]["head.bias"].update(
        step={"$array": HEAD}
    ),
    "a reference to nothing": lambda c: c.state["optimizer"]["state"]["head.bias"].update(
        exp_avg={"$array": "nothing"}
    ),
    "a negative count": lambda c: c.state["optimizer"]["state"]["head.bias"].update(step=-1),
    "half a count": lambda c: c.state["optimizer"]["state"]["head.bias"].update(step=0.5),
    "no groups": lambda c: c.state["optimizer"].pop("param_groups"),
    "a group less": lambda c: c.state["optimizer"]["param_groups"].pop(),
    "a group of other parameters": lambda c: c.state["optimizer"]["param_groups"][0][
        "params"
    ].pop(),
    "a group without a rate": lambda c: c.state["optimizer"]["param_groups"][1].pop("lr"),
    "a rate that is a text": lambda c: c.state["optimizer"]["param_groups"][1].update(lr="x"),
    "a negative rate": lambda c: c.state["optimizer"]["param_groups"][1].update(lr=-1.0),
    "one beta": lambda c: c.state["optimizer"]["param_groups"][0].update(betas=[0.9]),
    "betas of texts": lambda c: c.state["optimizer"]["param_groups"][0].update(betas=["a", "b"]),
    "no schedule": lambda c: c.state.pop("scheduler"),
    "a schedule without a count": lambda c: c.state["scheduler"].pop("last_epoch"),
    "a schedule of another step": lambda c: c.state["scheduler"].update(last_epoch=9),
    "no generators": lambda c: c.state.pop("generators"),
    "no generator of the model": lambda c: c.state["generators"].pop("model"),
    "a generator without an offset": lambda c: c.state["generators"]["model"].pop("offset"),
    "no counters": lambda c: c.state.pop("counters"),
    "counters of another step": lambda c: c.state["counters"].update(step=7),
    "no data": lambda c: c.state.pop("data"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_failed_load_changes_nothing(trained: Checkpoint, fresh: Session, name: str) -> None:
    before = everything(fresh)
    broken = copy.deepcopy(trained)
    BREAKS[name](broken)
    with pytest.raises(TinytapeError) as error:
        fresh.restore(broken)
    assert everything(fresh) == before
    # load_checkpoint finds such a reference, and names the file.
    unnamed = ("another text", "no data", "a reference to nothing")
    assert str(trained.path) in str(error.value) or name in unnamed
    fresh.restore(trained)  # and what is whole can be loaded after it
