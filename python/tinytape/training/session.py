"""The parts of a run, built from its settings; and its state, saved and restored.

>>> from tinytape.training import TrainConfig, resolve
>>> from tinytape.training.session import build_session
>>> session = build_session(resolve(TrainConfig(model="tiny", data="./text.txt", context=16)))
>>> session.tokens_per_step, session.position
(192, (0, 0))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytape as tt

from .. import models
from ..data import (
    FALLBACK_CORPUS,
    CharTokenizer,
    Corpus,
    Splits,
    bigram_entropy,
    identity,
    load_again,
    load_corpus,
    provenance,
    split_corpus,
    unigram_entropy,
)
from ..errors import ArgumentError
from ..models.spec import Updates, WindowTask
from .arrays import Array, require_same_arrays
from .checkpoint import Checkpoint
from .config import SETTINGS, TrainConfig, recorded
from .errors import CheckpointError, ConfigError
from .memory_need import require_memory
from .model_size import require_weights_of
from .state_tree import join_state, split_state

_GRADIENT = "gradient."  # and the parameter's name: an array of an unfinished step


@dataclass
class Counters:
    """The counts of a run so far: part of the training state."""

    step: int = 0
    micro_step: int = 0  # batches of the next step whose gradients are in the parameters
    loss_of_step: float = 0.0  # their part of its loss
    skipped: int = 0  # steps left out because their numbers were not finite
    skipped_in_a_row: int = 0
    loss_sum: float = 0.0  # of the training losses since the last evaluation
    loss_count: int = 0
    evaluated_step: int = -1  # the last step whose held-out loss is in the metrics
    held_out_loss: float | None = None
    best_loss: float | None = None
    best_step: int = -1
    grad_norm: float | None = None  # of the last step, before clipping
    seconds: float = 0.0  # spent in the loop, over all resumes

    def without_losses(self) -> Counters:
        """The same without losses, for a run whose losses are measured anew on another text."""
        kept = ("step", "micro_step", "loss_of_step", "skipped", "skipped_in_a_row", "grad_norm")
        return Counters(**{name: getattr(self, name) for name in (*kept, "seconds")})


@dataclass(frozen=True)
class Snapshot:
    """The state that a batch changes besides gradients."""

    generator: dict[str, int]
    task: Any


@dataclass
class Session:
    """The parts of one run."""

    config: TrainConfig
    corpus: Corpus
    tokenizer: CharTokenizer
    splits: Splits
    entropies: dict[str, float]  # of the text, in nats: the losses to beat
    model: tt.nn.Module
    generator: tt.Generator  # drew the weights, draws the dropout masks
    task: WindowTask  # how the model is fed and judged
    updates: Updates  # the use of gradients
    counters: Counters

    @property
    def context(self) -> int:
        """The number of tokens of a window."""
        return self.task.context

    @property
    def tokens_per_batch(self) -> int:
        """The number of targets in one batch."""
        return self.config.batch_size * self.context

    @property
    def tokens_per_step(self) -> int:
        """The number of targets in one step."""
        return self.tokens_per_batch * self.config.gradient_accumulation_steps

    @property
    def position(self) -> tuple[int, int]:
        """The step that a checkpoint of now would continue from, and its batches that are done."""
        return self.counters.step, self.counters.micro_step

    @property
    def next_batch(self) -> int:
        """The number of the batch that comes next. Batches are a function of (seed, number)."""
        per_step = self.config.gradient_accumulation_steps
        return self.counters.step * per_step + self.counters.micro_step

    def snapshot(self) -> Snapshot:
        """The state before the next batch; for :meth:`rewind`."""
        return Snapshot(self.generator.get_state(), self.task.snapshot())

    def rewind(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, as if no batch had been read since."""
        self.generator.set_state(snapshot.generator)
        self.task.rewind(snapshot.task)

    def record(self) -> dict[str, Any]:
        """The content of ``config.json``: enough to build the model again, and the text."""
        return {
            "format": "tinytape-run",
            "version": 1,
            "train": recorded(self.config),
            "model": models.config_of(self.model),
            "corpus": {
                **provenance(self.corpus),
                "vocab_size": self.tokenizer.vocab_size,
                "entropy_nats": self.entropies,
            },
        }

    def weights(self) -> dict[str, tt.Tensor]:
        """The weights by name; they share memory with the model."""
        return dict(self.model.state_dict())

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The training state besides the weights, as (JSON tree, arrays)."""
        updates: dict[str, Any] = {}
        arrays: dict[str, Array] = {}
        for name, tree in self.updates.state().items():
            updates[name], found = split_state(tree, name)
            arrays |= found
        task, task_arrays = self.task.state()
        arrays |= task_arrays
        for name, parameter in self._trained():
            if parameter.grad is not None:  # of an unfinished step, or of a level that waits
                arrays[_GRADIENT + name] = parameter.grad
        return {
            **updates,
            **({"task": task} if task else {}),
            "generators": {"model": self.generator.get_state()},
            # Batches are a function of (seed, number): this is their whole position.
            "data": {
                **identity(self.corpus),
                "seed": self.config.seed,
                "next_batch": self.next_batch,
            },
            "counters": dataclasses.asdict(self.counters),
        }, arrays

    def restore(self, checkpoint: Checkpoint, *, allowed: Collection[str] = ()) -> bool:
        """Take over the state of a checkpoint: compare everything first, then assign.

        Weights, moments, gradients, counts and positions come from the checkpoint; rates, decays
        and schedule are those of this session's settings.

        Args:
            allowed: settings that may differ from the checkpoint's; ``data`` is the text.

        Raises:
            ConfigError: the text is another one.
            CheckpointError: names, shapes or dtypes are not those of this run. Nothing has changed
                after either.
        """
        path, state = checkpoint.path, checkpoint.state
        # The text first: another one has other characters, so nothing else would fit either.
        data = _section(state, "data", path)
        fed, now = (data.get("sha256"), data.get("cut")), (self.corpus.sha256, self.corpus.cut)
        if fed != now and "data" not in allowed:
            raise ConfigError(
                f"cannot resume with another text: the run was fed one with {_in_words(*fed)}, and "
                f"--data {self.config.data} is now {self.corpus.name} with {_in_words(*now)}; "
                f"give the first with --data or $TINYTAPE_DATA{self._other_way(checkpoint)}"
            )
        known = checkpoint.tokenizer
        if known is not None and known.characters != self.tokenizer.characters:
            raise CheckpointError(f"{path / 'tokenizer.json'}: other characters than the run's")
        counters = _counters(_section(state, "counters", path), checkpoint)
        require_same_arrays(checkpoint.model, self.weights(), path / "model.safetensors")
        self._require_arrays(checkpoint, counters)
        before = _section(checkpoint.config, "train", path)
        batches = before.get("gradient_accumulation_steps", 1)
        if counters.micro_step and batches != self.config.gradient_accumulation_steps:
            raise ConfigError(
                f"{path} is in the middle of a step, after {counters.micro_step} of {batches} "
                f"batches: gradient_accumulation_steps can change between two steps only"
            )
        parts = {
            name: join_state(_section(state, name, path), checkpoint.arrays)
            for name in self.updates.state()
        }
        generator = tt.Generator()
        try:
            generator.set_state(_section(state, "generators", path).get("model", {}))
            take_over_task = self.task.load(state.get("task", {}), checkpoint.arrays)
            self.updates.load(parts, counters.step)  # checks before it assigns
        except CheckpointError as error:
            raise CheckpointError(f"{path / 'state.json'}: {error}") from error
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        take_over_task()
        self.model.load_state_dict(checkpoint.model)
        self.generator.set_state(generator.get_state())
        for name, parameter in self._trained():
            array = checkpoint.arrays.get(_GRADIENT + name)
            parameter.grad = None if array is None else tt.tensor(array)
        comparable = fed == now and _measure(checkpoint.config) == _measure(self.record())
        self.counters = counters if comparable else counters.without_losses()
        return comparable

    def _other_way(self, checkpoint: Checkpoint) -> str:
        """A message: how to resume with the text that was found, or why that is impossible."""
        known = checkpoint.tokenizer
        strange = set(self.corpus.text).difference(known.characters) if known else None
        if strange:
            shown = "".join(sorted(strange)[:8])
            return f": of this one the run does not know the characters {shown!r}"
        return ", or add --allow-change data"

    def _require_arrays(self, checkpoint: Checkpoint, counters: Counters) -> None:
        """Raise CheckpointError unless the arrays are those that this run would have there."""
        own, given = self.state()[1], checkpoint.arrays
        theirs = self.task.own_arrays({*own, *given})  # looked at by the task itself
        expected: dict[str, Array] = {name: x for name, x in own.items() if name not in theirs}
        expected |= {
            _GRADIENT + name: parameter
            for name, parameter in self._trained()
            if counters.micro_step or (self.updates.waits and _GRADIENT + name in given)
        }
        require_same_arrays(
            {name: x for name, x in given.items() if name not in theirs},
            expected,
            checkpoint.path / "train_state.safetensors",
        )

    def _trained(self) -> list[tuple[str, tt.nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]


def build_session(
    config: TrainConfig,
    tokenizer: CharTokenizer | None = None,
    checkpoint: Checkpoint | None = None,
    *,
    fed: Mapping[str, Any] | None = None,
) -> Session:
    """Find the text, build the model with its initial weights, its task and its updates.

    Args:
        config: resolved settings.
        tokenizer: that of the run, where the text is another than it was made from.
        checkpoint: that is to be restored.
        fed: the run's record of its text, when it is resumed.

    Raises:
        ConfigError: an unknown model, or a batch that the text is too short for, or the memory.
        CheckpointError: the checkpoint is of a model of another size (ModelSizeError) or of one
            that is not registered (UnknownModelError); none was made.
        DataError: no such text, or one that cannot be used.
    """
    spec = models.spec_of_preset(config.model)
    if spec is None:
        known = ", ".join(models.presets())
        raise ConfigError(
            f"model: expected one of {known}; got {config.model!r}; "
            f"${models.files.VARIABLE} names files with more"
        )
    corpus = load_corpus(config.data) if fed is None else load_again(config.data, fed)
    if corpus.name == FALLBACK_CORPUS:
        # The run continues with this text, also when a network answers later.
        config = dataclasses.replace(config, data=FALLBACK_CORPUS)
    tokenizer = tokenizer or CharTokenizer.from_text(corpus.text)
    if config.threads is not None:
        tt.set_num_threads(config.threads)
    generator = tt.Generator(config.seed)  # its own, so that nothing else can move it
    # How large all will be, by arithmetic, before memory is taken for it.
    options = spec.config_options(config)
    try:
        described = models.describe(config.model, tokenizer.vocab_size, **options)
    except ArgumentError as error:  # sizes that do not go together
        raise ConfigError(str(error)) from error
    config = dataclasses.replace(config, context=described["context"])
    splits = split_corpus(corpus, tokenizer, described["context"])
    require_memory(described, config)
    if checkpoint is not None:
        weights, path = checkpoint.model, checkpoint.path
        values = sum(array.size for array in weights.values())
        source = path / "model.safetensors"
        require_weights_of(described, len(weights), values, source, "this command")
    model: Any = models.from_config(described, generator=generator, dtype=getattr(tt, config.dtype))
    require_memory(described, config, model)
    return Session(
        config=config,
        corpus=corpus,
        tokenizer=tokenizer,
        splits=splits,
        entropies={
            "unigram": unigram_entropy(splits.ids),
            "bigram": bigram_entropy(splits.ids),
        },
        model=model,
        generator=generator,
        task=spec.task(model, splits, config, corpus.text),
        updates=spec.updates(model, config),
        counters=Counters(),
    )


def _measure(record: dict[str, Any]) -> list[Any]:
    """How the held-out loss of a run is measured, beside the text; the record is its config's."""
    train = record["train"]
    measures = [option for option in SETTINGS.values() if option.metadata["measures"]]
    values = [train.get(option.name, option.default) for option in measures]
    return [record.get("model", {}).get("context"), *values]


def _in_words(sha256: str | None, cut: int | None) -> str:
    return f"SHA-256 {sha256}" + ("" if cut is None else f", cut after {cut} characters")


def _counters(record: dict[str, Any], checkpoint: Checkpoint) -> Counters:
    """The known counters; a later tinytape may have more, an earlier one had fewer."""
    known = {f.name for f in dataclasses.fields(Counters)}
    counters = Counters(**{name: record[name] for name in known & record.keys()})
    if counters.step != checkpoint.step:
        source = checkpoint.path / "state.json"
        raise CheckpointError(f"{source}: counters are of step {counters.step}")
    return counters


def _section(record: dict[str, Any], name: str, source: Path) -> dict[str, Any]:
    """The object under ``name``; ``source`` is for the message."""
    found = record.get(name)
    if not isinstance(found, dict):
        raise CheckpointError(f"{source}: expected {name} to be an object, got {found!r:.60}")
    return found
