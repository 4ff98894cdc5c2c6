"""Sampling: text from a trained model, one token at a time, with a cache of the tokens so far.

>>> from tinytape.sampling import generate
>>> model = tt.models.create("tiny", vocab_size=5, generator=tt.Generator(0))
>>> tokens = list(generate(model, [0, 1], 10, temperature=0.8, seed=1))
>>> len(tokens), tokens == list(generate(model, [0, 1], 10, temperature=0.8, seed=1))
(10, True)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np

import tinytape as tt

from .random import philox_u64, seed_of

DRAWS = 64  # made at once
_SAMPLE_STREAM = int.from_bytes(b"sample", "big")


def generate(
    model: tt.nn.Module,
    prompt: Sequence[int] | np.ndarray,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Iterator[int]:
    """Yield ``max_new_tokens`` ids that continue ``prompt``.

    A cache may hold a limited number of tokens, as that of a transformer does. When it is full, it
    is filled again with the last half of them, so a long text costs at most two tokens of work per
    token. A model without a cache reads its last ``config.context`` tokens again for each token.

    Args:
        model: may have ``new_cache(batch_size)``, with a ``context`` that is a number of tokens or
            None, and ``model(ids, cache=cache)``, whose ids of shape (1, t) are only the new ones.
        prompt: ids, at least one.
        temperature: divides the logits; 0 takes the most likely id every time.
        top_k: draw from the k most likely ids only; None draws from all.
        seed: the same seed gives the same text; its range is that of ``manual_seed``.

    Raises:
        ValueError: an empty prompt, a negative temperature or count, ``top_k`` below 1, a seed out
            of range.
    """
    if len(prompt) == 0:
        raise ValueError("generate: expected a prompt of at least one token, got none")
    if max_new_tokens < 0:
        raise ValueError(f"generate: expected max_new_tokens >= 0, got {max_new_tokens}")
    if not 0 <= temperature <= sys.float_info.max:
        raise ValueError(f"generate: expected a finite temperature >= 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: expected top_k >= 1, got {top_k}")
    return _generate(model, prompt, max_new_tokens, temperature, top_k, seed_of(seed))


def _generate(
    model: tt.nn.Module,
    prompt: Sequence[int] | np.ndarray,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    seed: int,
) -> Iterator[int]:
    was_training = model.training
    model.eval()
    cache = model.new_cache(1) if hasattr(model, "new_cache") else None
    context = model.config.context if cache is None else cache.context
    recent = [int(i) for i in prompt]  # everything in the cache and about to enter it
    if context is not None:
        recent = recent[-context:]
    fresh = recent
    try:
        for count in range(max_new_tokens):
            with tt.no_grad():  # closed before each yield: it must not leak into the caller
                ids = tt.tensor(np.array([fresh], dtype=np.int64))
                logits = model(ids) if cache is None else model(ids, cache=cache)
                last = logits.numpy()[0, -1]
            if count % DRAWS == 0:
                draws = uniform(seed, count, DRAWS)
            token = choose(last, temperature, top_k, draws[count % DRAWS])
            yield token
            fresh = [token]
            if context is None:
                continue
            recent.append(token)
            if cache is None:
                fresh = recent[-context:]
            elif len(recent) > context:
                recent = recent[-max(1, context // 2) :]
                fresh = recent
                cache.reset()
    finally:
        model.train(was_training)


def default_prompt(characters: Sequence[str]) -> str:
    """The prompt when none is given: a new line, or the first character of a model without one."""
    return "\n" if "\n" in characters else characters[0]


def uniform(seed: int, count: int, n: int) -> list[float]:
    """The draws for tokens ``count`` to ``count + n - 1``, in [0, 1) with 53 bits."""
    words = philox_u64(seed, _SAMPLE_STREAM, count, n) >> np.uint64(11)
    draws: list[float] = (words * 2.0**-53).tolist()
    return draws


def choose(logits: np.ndarray, temperature: float, top_k: int | None, draw: float) -> int:
    """Turn logits of shape (V,) and a uniform draw into an id, in float64.

    Ties at the edge of ``top_k`` go to the lower id.
    """
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64)
    scaled -= scaled.max()  # first: a quotient by a tiny temperature would overflow
    with np.errstate(over="ignore"):
        scaled /= temperature
    if top_k is not None and top_k < len(scaled):
        order = np.argsort(-scaled, kind="stable")
        scaled[order[top_k:]] = -np.inf
    weights = np.exp(scaled)
    cumulative = weights.cumsum()
    # side="right": an id of probability zero has an empty interval and is never hit.
    place = int(cumulative.searchsorted(draw * cumulative[-1], side="right"))
    if place == len(scaled):  # the product was rounded up
        return int(np.flatnonzero(weights)[-1])
    return place
