"""Models as specs: what the registry checks, what has a default, and who asks for a model."""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tinytape
import tinytape as tt
from tinytape import checkpoint, generate, models, nn, sampling
from tinytape.models import ModelSpec, RecurrentState, StreamTask, gpt, registry
from tinytape.models.check import RESERVED, require_spec, try_out
from tinytape.models.files import VARIABLE
from tinytape.models.sizes import count_on_shapes, measure_activations
from tinytape.models.spec import SYNONYMS
from tinytape.settings import setting
from tinytape.training import (
    ConfigError,
    RunFolder,
    TrainConfig,
    load_run,
    report,
    resolve,
    train,
)
from tinytape.training.arguments import train_parser
from tinytape.training.checkpoint_text import list_lines, verify_lines
from tinytape.training.config import SETTINGS
from tinytape.training.progress import Console
from tinytape.training.verify import listed, verify

SOURCE = Path(tinytape.__file__).parent
TEXT = "the cat sat on a mat; who knows why?\n" * 20


# --- a model with nothing but what is needed ------------------------------------------------------


@dataclass(frozen=True)
class PlainConfig:
    vocab_size: int
    context: int
    width: int
    scale: float = 1.0


class Plain(nn.Module):
    """Each character by itself: no cache, no head by that name, no sizes of its own."""

    def __init__(self, config: PlainConfig, *, generator: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.config = config
        options = {"generator": generator, "dtype": dtype}
        self.table = nn.Embedding(config.vocab_size, config.width, **options)
        self.hidden = nn.Linear(config.width, config.width, **options)
        self.out = nn.Linear(config.width, config.vocab_size, **options)

    def forward(self, idx: tt.Tensor) -> tt.Tensor:
        return self.out(self.hidden(self.table(idx)).tanh() * self.config.scale)


@dataclass(frozen=True)
class PlainSettings:
    scale: float = setting(1.0, float, "plain models", "factor before the output", above=0.0)


PRESETS = {"plain": {"context": 8, "width": 4}, "plain-wide": {"context": 8, "width": 64}}
SPEC = ModelSpec("plain", PlainConfig, Plain, PRESETS, settings=PlainSettings)


@pytest.fixture
def registered() -> Iterator[ModelSpec]:
    with mock.patch.dict(registry._SPECS):
        models.register(SPEC)
        yield SPEC


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "cat.txt"
    path.write_text(TEXT)
    return path


def trained(text: Path, out: Path, **changes: Any) -> RunFolder:
    given = {"model": "plain", "iters": 6, "batch_size": 2, "data": str(text), "out": str(out)}
    return train(TrainConfig(**{**given, **changes}), console=Console(io.StringIO())).folder


def test_it_trains_loads_writes_and_verifies(
    registered: ModelSpec, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(text, tmp_path / "run", optimizer="muon", scale=2.0)
    model, tokenizer = load_run(run.path)
    assert isinstance(model, Plain) and model.config.scale == 2.0
    assert all(saved.problem is None for saved in verify(run.path))
    # Without a cache each token is that of the whole context before it.
    prompt = tokenizer.encode("the cat sat")
    written = [*prompt, *sampling.generate(model, prompt, 12, temperature=0.0)]
    with tt.no_grad():
        for n in range(len(prompt), len(written)):
            logits = model(tt.tensor(np.array([written[max(0, n - 8) : n]])))
            assert logits.numpy()[0, -1].argmax() == written[n]
    assert generate.main([str(run.path), "--tokens", "5"]) == 0
    assert checkpoint.main(["verify", str(run.path)]) == 0
    assert "damaged" not in capsys.readouterr().out


def test_muon_leaves_the_layer_that_makes_the_logits_to_adamw(registered: ModelSpec) -> None:
    model = models.create("plain", 11)
    updates = SPEC.updates(model, resolve(TrainConfig(model="plain", optimizer="muon")))
    muon = [group for group in updates.optimizer.param_groups if group["use_muon"]]
    assert [p for group in muon for p in group["params"]] == [model.hidden.weight]


def test_its_settings_are_its_own(registered: ModelSpec, text: Path, tmp_path: Path) -> None:
    names = list(SETTINGS)
    assert names.index("muon_momentum") < names.index("scale") < names.index("out")
    assert resolve(TrainConfig(model="plain", scale=3.0)).scale == 3.0
    for changes, words in (
        ({"model": "tiny", "scale": 3.0}, "scale: a setting of plain models, got 3.0 for model 't"),
        ({"model": "plain", "reset": "8"}, "reset: a setting of nested models, got '8' for mod"),
        ({"model": "plain", "scale": 0.0}, "scale: expected more than 0, got 0.0"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            resolve(TrainConfig(**changes))
    with pytest.raises(ConfigError, match=r"dropout: plain models have none, got 0\.5"):
        trained(text, tmp_path / "dropped", dropout=0.5)
    # A run of another model can be read where this one is not known.
    own = trained(text, tmp_path / "own").read_config()["train"]
    other = trained(text, tmp_path / "other", model="tiny", context=8, iters=1)
    assert own["scale"] == 1.0 and "scale" not in other.read_config()["train"]


def test_a_run_of_a_model_that_is_not_known_names_the_way(
    registered: ModelSpec, text: Path, tmp_path: Path
) -> None:
    run = trained(text, tmp_path / "run")
    registry._SPECS.pop("plain")
    problems = [saved.problem for saved in verify(run.path) if saved.kind == "config"]
    words = "there is no model 'plain' here; $TINYTAPE_MODELS names files with more"
    assert problems == [f"{run.config}: {words}"]
    found = list(verify(run.path))
    assert {saved.problem is None for saved in found if saved.kind == "tokenizer"} == {True}
    others = [saved for saved in found if saved.kind != "tokenizer"]
    assert {saved.kind for saved in others} == {"checkpoint", "best", "weights", "config"}
    for saved in others:
        assert saved.problem is not None and saved.problem.endswith(f"config.json: {words}")
    for lines in (verify_lines(found), list_lines(listed(found))):
        assert "unknown" in lines[1] and not any("damaged" in line for line in lines)
    newest = others[0].path / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    first = verify_lines(list(verify(run.path)))[0]
    assert first.startswith("damaged") and words not in first
    with pytest.raises(ConfigError, match=re.escape("got 'plain'; $TINYTAPE_MODELS names files")):
        train(TrainConfig(model="plain", data=str(text), out=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


# --- the check ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", models.specs(), ids=lambda spec: spec.name)
def test_the_models_that_come_with_tinytape_pass_the_check(spec: ModelSpec) -> None:
    require_spec(spec, [other for other in models.specs() if other is not spec])
    try_out(spec)


@dataclass(frozen=True)
class NoContext:
    vocab_size: int


@dataclass(frozen=True)
class ListConfig:
    vocab_size: int
    context: int
    width: int
    levels: Any = (1, 2)


@dataclass(frozen=True)
class BareSettings:
    scale: float = 1.0


@dataclass(frozen=True)
class TakenSettings:
    lr: float = setting(1.0, float, "plain models", "a rate")


@dataclass(frozen=True)
class Architecture:
    vocab_size: int
    context: int
    width: int
    architecture: str = "x"


def settings_of(name: str, default: Any = 0.0) -> type:
    about = setting(default, float, "plain models", "a number", low=0.0)
    return make_dataclass("Own", [(name, float, about)], frozen=True)


gpt_like = {"p": {"context": 8, "width": 8, "heads": 2, "layers": 1}}


class Flat(Plain):
    def forward(self, idx: tt.Tensor) -> tt.Tensor:
        return super().forward(idx).reshape(-1, self.config.vocab_size)


class Raises(Plain):
    def forward(self, idx: tt.Tensor) -> tt.Tensor:
        raise RuntimeError("no")


class Idle(Plain):
    def __init__(self, config: PlainConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.idle = nn.Linear(2, 2)


class Unseeded(Plain):
    def __init__(self, config: PlainConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.hidden = nn.Linear(config.width, config.width)


class Forgetful(Plain):
    def __init__(self, config: PlainConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.config = replace(config, scale=9.0)


class Looks(Plain):
    """Each position also has the characters after it."""

    def forward(self, idx: tt.Tensor) -> tt.Tensor:
        logits = super().forward(idx)
        return logits + logits.sum(dim=1, keepdim=True)


class NaNs(Plain):
    def forward(self, idx: tt.Tensor) -> tt.Tensor:
        return super().forward(idx) * float("nan")


class NoOptions(Plain):
    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config)


class WrongCache(Plain):
    """What it gives depends on the place in the text, which its cache does not know."""

    def forward(self, idx: tt.Tensor, cache: Any = None) -> tt.Tensor:
        return super().forward(idx) * tt.arange(1, 1 + idx.shape[1])[None, :, None]

    def new_cache(self, batch_size: int = 1) -> RecurrentState:
        return RecurrentState(place=tt.zeros(batch_size))


class OddCache(WrongCache):
    def new_cache(self, batch_size: int = 1) -> Any:
        return object()


# Not formatted by ruff: with one element a line the table is hard to compare by eye.
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "gpt"}, "gpt: there is a model of that name"),
        ({"name": ""}, "expected name to be a text, got ''"),
        ({"config": dict}, "expected config to be a dataclass"),
        ({"config": NoContext}, "expected NoContext to have the field context"),
        ({"config": ListConfig}, "preset plain: expected numbers, texts, bools and None"),
        ({"presets": {}}, "expected presets, each a name and a dict of sizes"),
        ({"presets": {"tiny": PRESETS["plain"]}}, "there is a preset of the name tiny"),
        ({"presets": {"p": {"context": 8}}}, "preset p: .*missing .*'width'"),
        ({"presets": {"p": {**PRESETS["plain"], "depth": 1}}}, "preset p: .*unexpected .*'depth'"),
        ({"presets": {"p": {**PRESETS["plain"], "vocab_size": 1}}}, "vocab_size is what the text"),
        ({"settings": BareSettings}, "the setting scale to be made by settings.setting"),
        ({"settings": TakenSettings}, "there is a setting of the name lr"),
        ({"settings": settings_of("n_layer")}, "the setting n_layer: another name of layers"),
        ({"settings": settings_of("vocab_size")}, "vocab_size cannot have that name"),
        ({"settings": settings_of("_x")}, "_x cannot have that name"),
        ({"settings": settings_of("gain", -1.0)}, "not allowed: gain: expected at least 0, got -1"),
        ({"settings": settings_of("gain", "x")}, "not allowed: gain: expected a number, got 'x'"),
        ({"presets": {3: PRESETS["plain"]}}, "expected the name of a preset to be a text, got 3"),
        ({"presets": {"p": 3}}, "preset p: expected a dict of sizes, got 3"),
        ({"presets": {"p": {"context": 0, "width": 4}}}, "a whole number of at least 1, got 0"),
        ({"presets": {"p": {"context": "8", "width": 4}}}, "a whole number of at least 1, got '8'"),
        (
            {"presets": {**PRESETS, "q": {"context": 8, "width": -4}}},
            "Plain failed with PlainConfig.*width=-4",
        ),
        ({"config": gpt.GPTConfig, "presets": gpt_like}, "GPTConfig is that of gpt"),
        ({"config": Architecture}, "Architecture.architecture: a record has the name"),
        ({"settings": make_dataclass("Thawed", ["x"])}, "expected Thawed to be frozen"),
        ({"shown_defaults": 3}, "expected shown_defaults to be a dict, got 3"),
        ({"studies": 3}, "expected studies to be a dict, got 3"),
        ({"settings": 3}, "expected settings to be a dataclass or None, got 3"),
        ({"task": Plain}, "expected task to be a subclass of WindowTask"),
        ({"updates": Plain}, "expected updates to be a subclass of Updates"),
        ({"task": StreamTask}, r"StreamTask needs Plain.new_cache\(batch_size\)"),
        ({"module": NoOptions}, r"NoOptions\(config, generator=..., dtype=...\) failed: TypeError"),
        ({"module": lambda config, **options: 3}, "expected a Module of <lambda>, got int"),
        ({"module": Forgetful}, "expected Forgetful to keep its config as self.config"),
        ({"module": Unseeded}, "hidden.weight is not drawn from the generator"),
        ({"module": Flat}, r"expected logits of shape \(1, 3, 7\) for ids of shape \(1, 3\), got"),
        ({"module": Raises}, r"Raises.forward failed with ids of shape \(1, 3\): RuntimeError"),
        ({"module": Looks}, "the logits of a position depend on tokens after it"),
        ({"module": NaNs}, "the logits of a new model are not finite"),
        ({"module": Idle}, "idle.weight is not drawn from the generator"),
        ({"module": WrongCache}, "token 1: the logits with a cache are not those without one"),
        ({"module": OddCache}, "expected the cache to have context, reset"),
        ({"module": OddCache, "task": StreamTask}, "to have context, reset, detach, snapshot"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_when_it_is_registered(changes: dict[str, Any], words: str) -> None:
    before = models.specs()
    with pytest.raises(ValueError, match=f"models.register: .*{words}"):
        models.register(replace(SPEC, **changes))
    assert models.specs() == before


def test_names_of_the_commands_flags_are_reserved() -> None:
    flags = {action.dest for action in train_parser()._actions} - set(SETTINGS)
    assert flags <= {*RESERVED, *SYNONYMS.values()}


def test_a_parameter_that_is_not_used_is_named() -> None:
    class Unused(Plain):
        def __init__(self, config: PlainConfig, *, generator: Any = None, dtype: Any = None):
            super().__init__(config, generator=generator, dtype=dtype)
            self.idle = nn.Linear(2, 2, generator=generator)

    with pytest.raises(ValueError, match=r"no gradient reached idle\.weight, idle\.bias"):
        models.register(replace(SPEC, module=Unused))
    with pytest.raises(ValueError, match="expected a ModelSpec, got str"):
        models.register("gru")  # type: ignore[arg-type]

    @dataclass
    class Thawed:
        vocab_size: int
        context: int
        width: int

    with pytest.raises(ValueError, match="expected Thawed to be frozen"):
        models.register(replace(SPEC, config=Thawed))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "TINYTAPE_MODELS: there is no file my.py"),
        (
            "from tinytape import models\nmodels.register(3)",
            "my.py: models.register: expected a M",
        ),
        ("x = 1\ndef (", "my.py:2: invalid syntax"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    source: str | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "my.py")
    if source is not None:
        Path("my.py").write_text(source)
    assert generate.main(["nowhere"]) == 2
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1


# --- what is derived ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.presets())
def test_parameters_are_counted_on_shapes(name: str) -> None:
    spec = models.spec_of_preset(name)
    assert spec is not None
    config = spec.config(**{**spec.presets[name], "vocab_size": 11})
    assert count_on_shapes(spec, config) == config.count_parameters()


def test_counting_takes_no_memory_and_draws_nothing(registered: ModelSpec) -> None:
    before, state = tt.memory_stats()["system_bytes"], tt.default_generator.get_state()
    huge = {"architecture": "plain", "vocab_size": 10**6, "context": 8, "width": 10**6}
    assert models.count_parameters(huge) == (5, 3 * 10**12 + 2 * 10**6)
    assert tt.memory_stats()["system_bytes"] - before < 1 << 20
    assert tt.default_generator.get_state() == state
    assert tt.zeros(3).fill_(2.0).numpy().sum() == 6.0  # it has ended


@pytest.mark.parametrize("name", ["tiny", "small", "nested-state"])
def test_activations_are_measured(name: str) -> None:
    model = models.create(name, 65, generator=tt.Generator(1))
    assert 0.7 < measure_activations(model) / model.config.activations_per_token < 1.5


def test_a_batch_that_no_memory_holds_is_refused_by_the_measure(
    registered: ModelSpec, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinytape.training.memory_need.physical_memory", lambda: 8 << 20)
    with pytest.raises(ConfigError, match="batch_size: a batch of 100000 x 8 characters needs"):
        trained(text, tmp_path / "run", batch_size=100_000)


def test_a_recurrent_state_refuses_what_is_not_its_own() -> None:
    state = RecurrentState(h=tt.zeros(2, 3))
    with pytest.raises(KeyError, match="expected one of h, got c"):
        state["c"] = tt.zeros(2, 3)
    for arrays, words in (
        ({}, "missing h"),
        ({"h": np.zeros((2, 3), np.float32), "c": np.zeros(1)}, "unexpected c"),
        ({"h": np.zeros((2, 4), np.float32)}, r"h: expected .*float32 of shape \(2, 3\), got fl"),
        ({"h": np.zeros((2, 3))}, r"h: expected .*float32 of shape \(2, 3\), got float64"),
    ):
        with pytest.raises(ValueError, match=words):
            state.load(arrays)
    state.load({"h": np.ones((2, 3), np.float32)})
    assert state["h"].numpy().sum() == 6.0


# --- nothing asks which model it is ---------------------------------------------------------------

ABOVE = [
    *(SOURCE / "training").glob("*.py"),
    *(SOURCE / "studies").glob("*.py"),
    *(SOURCE / f"{name}.py" for name in ("train", "generate", "checkpoint", "study", "plot")),
    SOURCE / "sampling.py",
]
CLASSES = {part.__name__ for spec in models.specs() for part in (spec.config, spec.module)}


@pytest.mark.parametrize("path", ABOVE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_above_the_models_asks_which_one_it_is(path: Path) -> None:
    """No class of a model, no preset, no architecture and no setting of a model stands there."""
    tree = ast.parse(path.read_text())
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names |= {node.attr for node in attributes}
    of_settings = {
        node.attr
        for node in attributes
        if re.search(r"\b(config|old|new|train)$", ast.unparse(node.value))
    }
    names |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    own = {name for spec in models.specs() for name in spec.own_settings()}
    known = {*models.presets(), *(spec.name for spec in models.specs())}
    assert not texts & (known | own)
    assert not names & (CLASSES | {"nested", "gpt"})
    assert not of_settings & own


def test_the_search_finds_what_it_looks_for() -> None:
    assert len(ABOVE) > 40 and {"GPT", "NestedConfig"} <= CLASSES
    assert report.__file__ in map(str, ABOVE)
