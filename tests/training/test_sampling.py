"""Drawing the next token: greedy, temperature, top-k, and the same text for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape import models, sampling
from tinytape.sampling import choose, generate, uniform

LOGITS = np.log(np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32))


def test_zero_temperature_takes_the_likeliest() -> None:
    assert {choose(LOGITS, 0.0, None, draw) for draw in (0.0, 0.5, 0.999999)} == {3}
    assert choose(np.zeros(4, np.float32), 0.0, None, 0.9) == 0


@pytest.mark.parametrize(
    ("draw", "want"), [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.2999, 1), (0.3001, 2), (0.9999, 3)]
)
def test_a_draw_falls_into_the_interval_of_its_token(draw: float, want: int) -> None:
    assert choose(LOGITS, 1.0, None, draw) == want


def test_frequencies_follow_the_tempered_softmax() -> None:
    draws = (np.arange(10_000) + 0.5) / 10_000
    for temperature in (0.5, 2.0):
        counts = np.bincount([choose(LOGITS, temperature, None, d) for d in draws], minlength=4)
        p = np.array([0.1, 0.2, 0.3, 0.4]) ** (1 / temperature)
        assert counts / 10_000 == pytest.approx(p / p.sum(), abs=2e-4)


def test_top_k_draws_from_the_k_likeliest() -> None:
    draws = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount([choose(LOGITS, 1.0, 2, d) for d in draws], minlength=4)
    assert counts[:2].sum() == 0
    assert counts[2:] / 1000 == pytest.approx([3 / 7, 4 / 7], abs=2e-3)
    assert {choose(LOGITS, 1.0, 1, d) for d in draws} == {3}
    assert {choose(LOGITS, 1.0, 99, d) for d in draws} == {0, 1, 2, 3}
    assert {choose(np.zeros(5), 1.0, 3, d) for d in draws} == {0, 1, 2}  # ties: exactly k


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_an_impossible_token_is_never_drawn(draw: float) -> None:
    logits = np.array([-np.inf, 0.0, -1e30, -np.inf])
    assert choose(logits, 1.0, None, draw) == 1
    assert choose(logits, 1e-8, None, draw) == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-300])
def test_the_coldest_temperatures_take_the_likeliest(temperature: float) -> None:
    for logits in (LOGITS, -1000 * LOGITS - 5000):
        for k in (None, 2):
            assert choose(logits, temperature, k, 0.5) == int(logits.argmax())


def test_draws_are_uniform_and_belong_to_their_seed() -> None:
    draws = uniform(5, 0, 2000)
    assert all(0 <= d < 1 for d in draws)
    assert np.mean(draws) == pytest.approx(0.5, abs=0.03)
    assert draws == [uniform(5, i, 1)[0] for i in range(2000)]
    assert draws[:5] != uniform(6, 0, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": []}, "at least one token"),
        ({"max_new_tokens": -1}, "max_new_tokens >= 0"),
        ({"temperature": -0.1}, "temperature >= 0"),
        ({"temperature": float("nan")}, "finite temperature"),
        ({"temperature": float("inf")}, "finite temperature"),
        ({"temperature": 1 << 2000}, "finite temperature"),
        ({"seed": 1 << 64}, "seed: expected an integer from"),
        ({"top_k": 0}, "top_k >= 1"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(change: dict[str, object], words: str) -> None:
    arguments = {"prompt": [0], "max_new_tokens": 1, **change}
    with pytest.raises(ValueError, match=words):
        generate(models.create("tiny", 5), **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> tt.nn.Module:
    """A tiny model with large weights, so that its choices differ from place to place."""
    model = models.create("tiny", 11, generator=tt.Generator(3))
    for parameter in model.parameters():
        parameter.copy_(parameter.numpy() * 8)
    return model


def without_cache(model: tt.nn.Module, prompt: list[int], n: int, seed: int) -> list[int]:
    """The same texts by the plain rule: the whole window again for every token."""
    context = model.config.context
    window, tokens = prompt[-context:], []
    with tt.no_grad():
        for count in range(n):
            logits = model(tt.tensor(np.array([window]))).numpy()[0, -1]
            tokens.append(choose(logits, 1.0, None, uniform(seed, count, 1)[0]))
            window = [*window, tokens[-1]]
            if len(window) > context:
                window = window[-(context // 2) :]
    return tokens


@pytest.mark.parametrize("length", [1, 5, 31, 32, 33, 100])
def test_the_cache_changes_nothing_but_the_speed(model: tt.nn.Module, length: int) -> None:
    """Across prompts shorter and longer than the context (32), and over several refills."""
    prompt = [i * 7 % 11 for i in range(length)]
    tokens = list(generate(model, prompt, 90, seed=4))
    assert tokens == without_cache(model, prompt, 90, seed=4)
    assert len(set(tokens)) > 3


def test_the_same_seed_gives_the_same_text(model: tt.nn.Module) -> None:
    texts = [list(generate(model, [1, 2], 40, seed=s)) for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert list(generate(model, [1], 0)) == []


def test_generating_leaves_the_caller_as_it_was(model: tt.nn.Module) -> None:
    model.train()
    ids = generate(model, [1], 5)
    next(ids)
    assert tt.is_grad_enabled()
    ids.close()
    assert model.training
    model.eval()
    list(sampling.generate(model, [1], 2))
    assert not model.training
