"""Everything a run works with, built from its settings; and its state, saved and put back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinytape as tt

from .. import models
from ..data import (
    FALLBACK_CORPUS,
    CharTokenizer,
    Corpus,
    RandomWindows,
    Splits,
    bigram_entropy,
    load_corpus,
    split_corpus,
    unigram_entropy,
)
from .arrays import Array, require_same_arrays
from .checkpoint import Checkpoint
from .config import TrainConfig
from .errors import CheckpointError, ConfigError
from .schedule import learning_rate
from .state_tree import join_state, split_state

_GRADIENT = "gradient."  # and the parameter's name: an array of an unfinished step


@dataclass
class Counters:
    """What a run has counted so far: part of the training state."""

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


@dataclass
class Session:
    """The parts of one run."""

    config: TrainConfig
    corpus: Corpus
    tokenizer: CharTokenizer
    splits: Splits
    entropies: dict[str, float]  # of the text, in nats: the losses to beat
    windows: RandomWindows
    model: tt.nn.Module
    generator: tt.Generator  # drew the weights, draws the dropout masks
    optimizer: tt.optim.Optimizer
    scheduler: tt.optim.lr_scheduler.LRScheduler
    counters: Counters

    @property
    def context(self) -> int:
        return self.windows.context

    @property
    def tokens_per_batch(self) -> int:
        return self.config.batch_size * self.context

    @property
    def tokens_per_step(self) -> int:
        return self.tokens_per_batch * self.config.gradient_accumulation_steps

    @property
    def position(self) -> tuple[int, int]:
        """What a checkpoint of now would go on from: the step, and batches of it that are done."""
        return self.counters.step, self.counters.micro_step

    @property
    def next_batch(self) -> int:
        """The number of the batch that comes next. Batches are a function of (seed, number)."""
        per_step = self.config.gradient_accumulation_steps
        return self.counters.step * per_step + self.counters.micro_step

    def record(self) -> dict[str, Any]:
        """What ``config.json`` holds: enough to build the model again, and what it was fed."""
        return {
            "format": "tinytape-run",
            "version": 1,
            "train": dataclasses.asdict(self.config),
            "model": self.model.config.to_dict(),
            "corpus": {
                "name": self.corpus.name,
                "path": None if self.corpus.path is None else str(self.corpus.path),
                "sha256": self.corpus.sha256,
                "characters": len(self.corpus.text),
                "vocab_size": self.tokenizer.vocab_size,
                "entropy_nats": self.entropies,
            },
        }

    def weights(self) -> dict[str, tt.Tensor]:
        """The weights by name; they share memory with the model."""
        return dict(self.model.state_dict())

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """The training state besides the weights, as (JSON tree, arrays)."""
        optimizer, arrays = split_state(self.optimizer.state_dict(), "optimizer")
        if self.counters.micro_step:
            for name, parameter in self._trained():
                if parameter.grad is not None:
                    arrays[_GRADIENT + name] = parameter.grad
        return {
            "optimizer": optimizer,
            "scheduler": self.scheduler.state_dict(),
            "generators": {"model": self.generator.get_state()},
            # Batches are a function of (seed, number): this is their whole position.
            "data": {"sha256": self.corpus.sha256, "seed": self.config.seed,
                     "next_batch": self.next_batch},
            "counters": dataclasses.asdict(self.counters),
        }, arrays  # fmt: skip

    def restore(self, checkpoint: Checkpoint, *, allowed: Collection[str] = ()) -> None:
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
        fed = _section(state, "data", path).get("sha256")
        if fed != self.corpus.sha256 and "data" not in allowed:
            raise ConfigError(
                f"cannot resume with another text: the run was fed one with SHA-256 {fed}, and "
                f"--data {self.config.data} is now {self.corpus.name} with SHA-256 "
                f"{self.corpus.sha256}; give the first with --data or $TINYTAPE_DATA, or say "
                f"--allow-change data"
            )
        counters = _counters(_section(state, "counters", path), checkpoint)
        own_state, own_arrays = self.state()
        gradients = {_GRADIENT + name: p for name, p in self._trained() if counters.micro_step}
        require_same_arrays(checkpoint.model, self.weights(), path / "model.safetensors")
        require_same_arrays(
            checkpoint.arrays, own_arrays | gradients, path / "train_state.safetensors"
        )
        if not own_state.keys() <= state.keys():
            missing = ", ".join(sorted(own_state.keys() - state.keys()))
            raise CheckpointError(f"{path / 'state.json'}: missing: {missing}")
        before = _section(checkpoint.config, "train", path).get("gradient_accumulation_steps", 1)
        if counters.micro_step and before != self.config.gradient_accumulation_steps:
            raise ConfigError(
                f"{path} is in the middle of a step, after {counters.micro_step} of {before} "
                f"batches: gradient_accumulation_steps can change between two steps only"
            )
        if _section(state, "scheduler", path).get("last_epoch") != counters.step:
            raise CheckpointError(f"{path / 'state.json'}: the schedule is not at the step")
        optimizer = join_state(state["optimizer"], checkpoint.arrays)
        settings = self.optimizer.state_dict()["param_groups"]
        generator = tt.Generator()
        try:
            generator.set_state(_section(state, "generators", path).get("model", {}))
            self.optimizer.load_state_dict(optimizer)  # checks before it assigns
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: {error}") from error
        for group, own in zip(self.optimizer.param_groups, settings, strict=True):
            group.update({name: own[name] for name in own if name != "params"})
        self.model.load_state_dict(checkpoint.model)
        self.generator.set_state(generator.get_state())
        self.scheduler.last_epoch = counters.step - 1
        self.scheduler.step()  # a closed form of the count
        for name, parameter in self._trained():
            array = checkpoint.arrays.get(_GRADIENT + name)
            parameter.grad = None if array is None else tt.tensor(array)
        self.counters = counters

    def _trained(self) -> list[tuple[str, tt.nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]


def build_session(config: TrainConfig, tokenizer: CharTokenizer | None = None) -> Session:
    """Find the text, build the model with its initial weights, and what trains it.

    Args:
        config: resolved settings.
        tokenizer: that of the run, where the text is another than it was made from.

    Raises:
        ConfigError: an unknown model.
        DataError: no such text, or one that cannot be used.
    """
    known = models.presets()
    if config.model not in known:
        raise ConfigError(f"model: expected one of {', '.join(known)}; got {config.model!r}")
    corpus = load_corpus(config.data)
    if corpus.name == FALLBACK_CORPUS:
        # The run goes on with this text, also when a network answers one day.
        config = dataclasses.replace(config, data=FALLBACK_CORPUS)
    tokenizer = tokenizer or CharTokenizer.from_text(corpus.text)
    if config.threads is not None:
        tt.set_num_threads(config.threads)
    generator = tt.Generator(config.seed)  # its own, so that nothing else can move it
    model = models.create(
        config.model,
        tokenizer.vocab_size,
        generator=generator,
        dtype=getattr(tt, config.dtype),
        dropout=config.dropout,
    )
    context = model.config.context
    splits = split_corpus(corpus, tokenizer, context)
    optimizer = build_optimizer(model, config)
    rate = functools.partial(learning_rate, config=config)
    return Session(
        config=config,
        corpus=corpus,
        tokenizer=tokenizer,
        splits=splits,
        entropies={
            "unigram": unigram_entropy(splits.ids),
            "bigram": bigram_entropy(splits.ids),
        },
        windows=RandomWindows(
            splits.train, batch_size=config.batch_size, context=context, seed=config.seed
        ),
        model=model,
        generator=generator,
        optimizer=optimizer,
        scheduler=tt.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step) / config.lr),
        counters=Counters(),
    )


def build_optimizer(model: tt.nn.Module, config: TrainConfig) -> tt.optim.Optimizer:
    """The optimiser, with weight decay on matrices and none on biases and gains."""
    named = list(model.named_parameters())
    groups: list[dict[str, Any]] = [
        {"params": [(n, p) for n, p in named if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [(n, p) for n, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return tt.optim.SGD(groups, lr=config.lr, momentum=config.beta1)
    kind = tt.optim.AdamW if config.optimizer == "adamw" else tt.optim.Adam
    return kind(groups, lr=config.lr, betas=(config.beta1, config.beta2))


def _counters(record: dict[str, Any], checkpoint: Checkpoint) -> Counters:
    """What is known of them; a later tinytape may count more, an earlier one counted less."""
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
