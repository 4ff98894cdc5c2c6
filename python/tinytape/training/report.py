"""The lines that a run prints before its first step and after its last.

>>> from tinytape.training import TrainConfig, resolve
>>> from tinytape.training.report import parameter_count
>>> from tinytape.training.session import build_session
>>> session = build_session(resolve(TrainConfig(model="tiny", data="./text.txt", context=16)))
>>> parameter_count(session)
104732
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import tinytape as tt

from .. import models, sampling
from ..models.spec import perplexity
from .checkpoint import Checkpoint
from .environment import environment, peak_resident_mb
from .run_folder import RunFolder
from .session import Session
from .shell import command_line
from .signals import StopSignals
from .state_tree import split_state

SAMPLE_TOKENS = 300


def header(session: Session, folder: RunFolder, resumed: Checkpoint | None) -> Iterator[str]:
    """The lines before the first step: the text, the losses to beat, the model, the machine."""
    config, corpus, splits = session.config, session.corpus, session.splits
    if corpus.notice:
        yield corpus.notice
    yield (
        f"corpus     {corpus.name}, {len(corpus.text):,} characters, "
        f"{session.tokenizer.vocab_size} distinct"
    )
    if corpus.path:
        yield f"           {corpus.path}"
    yield f"SHA-256    {corpus.sha256}"
    yield f"           {len(splits.train):,} to train on, {len(splits.held_out):,} held out"
    for title, line in session.task.about_text():
        yield f"{title:10} {line}"
    yield (
        f"to beat    {session.entropies['unigram']:.3f} nats per character (unigram entropy), "
        f"{session.entropies['bigram']:.3f} (bigram entropy)"
    )
    count = parameter_count(session)
    yield f"model      {config.model}, {count:,} parameters, {config.dtype}"
    decay = f", weight decay {config.weight_decay:g}" if config.weight_decay else ""
    rate = f"{config.lr:g}"
    if config.schedule != "constant":
        rate += f" to {config.min_lr:g} ({config.schedule})"
    yield f"optimiser  {config.optimizer}, learning rate {rate}"
    yield f"           warm-up {config.warmup} steps, clip {config.clip:g}{decay}"
    for title, line in models.spec_of(session.model).report(config, session.model):
        yield f"{title:10} {line}"
    plan = planned_memory(session)
    yield f"memory     about {sum(plan.values()) / 1e6:.0f} MB planned:"
    yield f"           {', '.join(f'{name} {size / 1e6:.1f}' for name, size in plan.items())}"
    env = environment()
    threads = tt.get_num_threads()
    yield f"engine     tinytape {env['tinytape']}, {threads} threads, SIMD {env['simd']}"
    yield f"           {env['blas']} {env['blas_version']} {env['blas_core']}".rstrip()
    batches = config.gradient_accumulation_steps
    batches_of = f"{batches} batches of " if batches > 1 else ""
    yield f"run        {folder}"
    yield (
        f"           {config.iters:,} steps of {batches_of}{config.batch_size} x "
        f"{session.context} characters, seed {config.seed}"
    )
    if resumed is not None:
        yield f"resumed    from step {resumed.step:,}"
        yield f"           {resumed.path}"
    yield ""


def parameter_count(session: Session) -> int:
    """The number of values in all parameters."""
    return sum(p.numel() for p in session.model.parameters())


def planned_memory(session: Session) -> dict[str, float]:
    """Bytes by purpose. All but the last entry is exact; a step's activations are an estimate."""
    size = 8 if session.config.dtype == "float64" else 4
    weights = parameter_count(session) * size
    _, moments = split_state(session.updates.state(), "updates")
    kept = models.activations_per_token(models.config_of(session.model), session.model) or 0
    return {
        "weights": weights,
        "gradients": weights,
        "optimiser": sum(math.prod(x.shape) * x.dtype.itemsize for x in moments.values()),
        "one step": session.tokens_per_batch * kept * size,
    }


def closing(session: Session, folder: RunFolder, stop: StopSignals) -> Iterator[str]:
    """The lines after the last step: the losses, a sample, and the next commands."""
    counters = session.counters
    loss = counters.held_out_loss
    assert loss is not None  # the last step is always followed by an evaluation
    yield ""
    yield (
        f"held-out loss {loss:.4f} nats per character ({loss / math.log(2.0):.4f} bits), "
        f"perplexity {perplexity(loss):.4g}"
    )
    yield f"the best was {counters.best_loss:.4f} at step {counters.best_step:,}, in {folder.best}"
    if counters.skipped:
        yield f"{counters.skipped:,} steps were left out, their numbers not finite"
    peak = peak_resident_mb()
    memory = f", peak memory {peak:.0f} MB" if peak else ""
    yield f"{counters.seconds:.0f} s in all{memory}"
    yield f"weights in {folder.model}"
    yield ""
    prompt = sampling.default_prompt(session.tokenizer.characters)
    ids = sampling.generate(
        session.model,
        session.tokenizer.encode(prompt),
        SAMPLE_TOKENS,
        temperature=0.8,
        seed=session.config.seed,
    )
    words = []
    for token in ids:
        if stop.requested:
            break
        words.append(token)
    yield from session.tokenizer.decode(words).strip("\n").split("\n")
    yield ""
    yield f"more text: {command_line('generate', folder.path, '--tokens', 500)}"
    yield f"the curve: {command_line('plot', folder.path)}"
