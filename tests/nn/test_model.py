"""The GPT: sizes, what may see what, what receives a gradient, and decoding with a cache."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import models
from tinytape.models import GPT, GPTConfig
from tinytape.nn import functional as F

from ..support.reference import transformer as ref

SIZE = ref.Size(vocab=7, context=6, width=8, heads=2, layers=2)
CONFIG = GPTConfig(SIZE.vocab, SIZE.context, SIZE.width, SIZE.heads, SIZE.layers)
RNG = np.random.default_rng(0)
IDX = RNG.integers(0, SIZE.vocab, (3, SIZE.context))
TARGETS = RNG.integers(0, SIZE.vocab, (3, SIZE.context))


def random_model(dtype=tt.float64) -> GPT:
    """Weights far from their initial values, biases too, so that nothing hides behind a zero."""
    model = GPT(CONFIG, dtype=dtype)
    model.load_state_dict(ref.random_weights(SIZE, seed=2))
    return model


def loss_of(model: GPT) -> tt.Tensor:
    logits = model(tt.tensor(IDX))
    return F.cross_entropy(logits.reshape(-1, SIZE.vocab), tt.tensor(TARGETS.reshape(-1)))


def count(model: tt.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "parameters"),
    [
        ("tiny", (32, 64, 4, 2), 110_529),
        ("small", (64, 128, 4, 2), 421_697),
        ("medium", (256, 256, 8, 4), 3_258_433),
    ],
)
def test_presets(name, sizes, parameters):
    assert list(models.presets())[:3] == ["tiny", "small", "medium"]
    model = models.create(name, 65, generator=tt.Generator(0))
    config = model.config
    assert (config.context, config.width, config.heads, config.layers) == sizes
    assert count(model) == parameters
    assert all(p.requires_grad for p in model.parameters())
    # Every linear layer has a bias, the untied head too.
    biases = [n for n, _ in model.named_parameters() if n.endswith(".bias")]
    assert len(biases) == 6 * config.layers + 2
    assert model.head.weight is not model.token_embedding.weight


@pytest.mark.parametrize("sizes", [(5, 4, 6, 3, 1), (65, 32, 64, 4, 2), (2, 1, 1, 1, 3)])
def test_parameters_are_counted_without_making_them(sizes):
    model = GPT(GPTConfig(*sizes))
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert models.count_parameters(model.config.to_dict()) == (len(sizes), sum(sizes))
    huge = {**model.config.to_dict(), "layers": 2**40, "width": 2**40, "heads": 1}
    assert models.count_parameters(huge)[1] > 2**120


def test_names_are_the_references():
    named = {name: tuple(p.shape) for name, p in GPT(CONFIG).named_parameters()}
    assert named == SIZE.shapes() and list(named) == list(SIZE.shapes())


def test_same_seed_same_weights_and_the_default_generator_stays():
    state = tt.default_generator.get_state()
    one, same, other = (GPT(CONFIG, generator=tt.Generator(seed)) for seed in (5, 5, 6))
    assert tt.default_generator.get_state() == state
    for name, value in one.state_dict().items():
        assert np.array_equal(value.numpy(), same.state_dict()[name].numpy()), name
        if name.endswith("weight") and "norm" not in name:
            assert not np.array_equal(value.numpy(), other.state_dict()[name].numpy()), name
    tt.manual_seed(5)
    first = GPT(CONFIG).state_dict()
    tt.manual_seed(5)
    second = GPT(CONFIG).state_dict()
    assert all(np.array_equal(first[n].numpy(), second[n].numpy()) for n in first)


def test_gpt2_initial_values():
    model = models.create("small", 65, generator=tt.Generator(1))
    for name, param in model.named_parameters():
        values = param.numpy()
        if name.endswith(".bias"):
            assert not values.any(), name
        elif "norm" in name:
            assert np.all(values == 1), name
        else:
            expected = 0.02 / math.sqrt(4) if name.endswith("proj.weight") else 0.02
            assert values.std() == pytest.approx(expected, rel=0.05), name
            assert abs(values.mean()) < 0.001, name


def test_initial_loss_is_that_of_guessing():
    model = models.create("small", 65, generator=tt.Generator(1))
    idx = tt.tensor(RNG.integers(0, 65, (4, 64)))
    targets = tt.tensor(RNG.integers(0, 65, 256))
    with tt.no_grad():
        loss = F.cross_entropy(model(idx).reshape(-1, 65), targets).item()
    assert loss == pytest.approx(math.log(65), abs=0.1)


# --- forward and gradients ------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(tt.float64, 1e-11), (tt.float32, 2e-5)])
def test_forward_and_gradients_are_the_references(dtype, tolerance):
    model = random_model(dtype)
    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    with tt.no_grad():
        logits = model(tt.tensor(IDX))
    assert logits.shape == (3, SIZE.context, SIZE.vocab) and logits.dtype == dtype
    expected = ref.forward(weights, SIZE, IDX)
    assert np.abs(logits.numpy() - expected).max() < tolerance * np.abs(expected).max()

    loss = loss_of(model)
    loss.backward()
    expected_loss, grads = ref.loss_and_grads(weights, SIZE, IDX, TARGETS)
    assert loss.item() == pytest.approx(expected_loss, rel=tolerance)
    for name, param in model.named_parameters():
        difference = np.abs(param.grad.numpy() - grads[name]).max()
        assert difference < tolerance * np.abs(grads[name]).max(), name


def central_difference(model: GPT, param: tt.Tensor, at: tuple[int, ...]) -> float:
    h, values = 1e-5, param.numpy()
    losses = []
    with tt.no_grad():
        for step in (h, -h):
            moved = values.copy()
            moved[at] += step
            param.copy_(moved)
            losses.append(loss_of(model).item())
        param.copy_(values)
    return (losses[0] - losses[1]) / (2 * h)


@pytest.mark.parametrize("name", list(SIZE.shapes()))
def test_every_parameter_is_on_the_tape(name):
    """The gradient is there and is the central difference, at the largest entry of each part.

    For qkv the parts are queries, keys and values. A key's bias moves all scores of a row alike and
    has no effect at all, which is asserted too.
    """
    model = random_model()
    loss_of(model).backward()
    param = dict(model.named_parameters())[name]
    assert param.grad is not None
    grad = param.grad.numpy()
    C = SIZE.width
    parts = [slice(0, C), slice(C, 2 * C), slice(2 * C, 3 * C)] if "qkv" in name else [slice(None)]
    for i, part in enumerate(parts):
        if name.endswith("qkv.bias") and i == 1:
            assert np.abs(grad[part]).max() < 1e-15
            continue
        inside = np.zeros_like(grad)
        inside[part] = np.abs(grad[part])
        at = np.unravel_index(inside.argmax(), grad.shape)
        assert abs(grad[at]) > 1e-4
        assert grad[at] == pytest.approx(central_difference(model, param, at), rel=1e-6)


def test_gradient_of_a_gradient_through_the_whole_model():
    """d/dw (g . u), with g the gradient of the loss, against differences of g."""
    model = random_model()
    params = list(model.parameters())
    rng = np.random.default_rng(4)
    directions = [tt.tensor(rng.standard_normal(tuple(p.shape))) for p in params]

    def dot(grads) -> tt.Tensor:
        terms = [(g * u).sum() for g, u in zip(grads, directions, strict=True)]
        return sum(terms[1:], terms[0])

    def gradients() -> list[np.ndarray]:
        return [g.numpy() for g in tt.grad(loss_of(model), params)]

    second = tt.grad(dot(tt.grad(loss_of(model), params, create_graph=True)), params)
    h, values = 1e-5, [p.numpy() for p in params]
    sides = []
    for sign in (h, -h):
        with tt.no_grad():
            for p, value, u in zip(params, values, directions, strict=True):
                p.copy_(value + sign * u.numpy())
        sides.append(gradients())
    for (name, _), got, above, below in zip(model.named_parameters(), second, *sides, strict=True):
        expected = (above - below) / (2 * h)
        scale = max(np.abs(expected).max(), 1e-3)
        assert np.abs(got.numpy() - expected).max() < 1e-6 * scale, name


def test_it_learns_one_batch_by_heart():
    model = models.create("tiny", 65, generator=tt.Generator(1))
    optimizer = tt.optim.AdamW(model.parameters(), lr=3e-3)
    window = np.random.default_rng(1).integers(0, 65, (2, 33))
    losses = []
    for _ in range(60):
        logits = model(tt.tensor(window[:, :-1]))
        loss = F.cross_entropy(logits.reshape(-1, 65), tt.tensor(window[:, 1:].reshape(-1)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(65), abs=0.2)
    assert losses[-1] < 0.1


# --- nothing leaks from the future ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tt.float64, tt.float32])
def test_a_later_token_changes_no_earlier_logit_by_a_single_bit(dtype):
    model = random_model(dtype)
    with tt.no_grad():
        before = model(tt.tensor(IDX)).numpy()
        for t in range(SIZE.context):
            changed = IDX.copy()
            changed[:, t] = (changed[:, t] + 1) % SIZE.vocab
            after = model(tt.tensor(changed)).numpy()
            assert np.array_equal(after[:, :t], before[:, :t])
            # The token itself and everything after it does change.
            assert np.all(np.abs(after[:, t:] - before[:, t:]).max(-1) > 1e-6)


def test_a_logit_has_exactly_no_gradient_for_later_positions_and_tokens():
    for t in range(SIZE.context):
        model = random_model()
        idx = np.arange(SIZE.context)[None, :] % SIZE.vocab  # each token once
        logits = model(tt.tensor(idx))
        at_t = logits.narrow(1, t, 1)
        (at_t * at_t).sum().backward()
        for table in (model.position_embedding, model.token_embedding):
            grad = table.weight.grad.numpy()
            assert np.all(grad[t + 1 :] == 0.0)
            assert np.all(np.abs(grad[: t + 1]).max(-1) > 1e-9)


# --- decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[6], [1] * 6, [3, 1, 1, 1], [2, 3, 1], [1, 5]])
def test_decoding_with_a_cache_is_the_full_forward(pieces):
    for dtype, tolerance in ((tt.float64, 1e-12), (tt.float32, 1e-5)):
        model = random_model(dtype)
        with tt.no_grad():
            expected = model(tt.tensor(IDX)).numpy()
            cache = model.new_cache(batch_size=3)
            for _ in range(2):  # the second time in used buffers
                got, start = [], 0
                for n in pieces:
                    got.append(model(tt.tensor(IDX[:, start : start + n]), cache=cache).numpy())
                    start += n
                    assert cache.length == start
                difference = np.abs(np.concatenate(got, axis=1) - expected).max()
                assert difference < tolerance * np.abs(expected).max()
                cache.reset()


def test_a_cache_that_does_not_fit_is_refused():
    model = random_model()
    cache = model.new_cache(3)
    with pytest.raises(tt.errors.TapeStateError, match=r"GPT: a cache needs tt\.no_grad"):
        model(tt.tensor(IDX), cache=cache)
    with tt.no_grad():
        model(tt.tensor(IDX[:, :4]), cache=cache)
        with pytest.raises(ValueError, match="3 more tokens do not fit: 4 of 6 are taken"):
            model(tt.tensor(IDX[:, :3]), cache=cache)
        with pytest.raises(ValueError, match="made for batch size 3, got a batch of 2"):
            model(tt.tensor(IDX[:2, :1]), cache=cache)
        with pytest.raises(IndexError):
            model(tt.tensor(np.full((3, 1), SIZE.vocab)), cache=cache)
        assert cache.length == 4
        expected = model(tt.tensor(IDX)).numpy()[:, 4:]
        got = model(tt.tensor(IDX[:, 4:]), cache=cache).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


# --- dropout, configuration, errors ---------------------------------------------------------------


def test_dropout_is_on_in_training_only_and_goes_on_from_a_saved_state():
    config = {**CONFIG.to_dict(), "dropout": 0.5}
    generator = tt.Generator(3)
    model = models.from_config(config, generator=generator)
    plain = GPT(CONFIG)
    plain.load_state_dict(model.state_dict())
    idx = tt.tensor(IDX)
    with tt.no_grad():
        expected = plain(idx).numpy()
        assert np.array_equal(model.eval()(idx).numpy(), expected)
        model.train()
        state = generator.get_state()
        first, second = model(idx).numpy(), model(idx).numpy()
        assert not np.array_equal(first, expected) and not np.array_equal(first, second)
        generator.set_state(state)
        assert np.array_equal(model(idx).numpy(), first)
        assert np.array_equal(model(idx).numpy(), second)


def test_config_round_trip_and_overrides():
    model = models.create("small", 65, layers=1, context=8, dropout=0.1, dtype=tt.float64)
    assert model.config == GPTConfig(65, 8, 128, 4, 1, dropout=0.1)
    record = model.config.to_dict()
    assert record == {
        "architecture": "gpt",
        "vocab_size": 65,
        "context": 8,
        "width": 128,
        "heads": 4,
        "layers": 1,
        "dropout": 0.1,
    }
    again = models.from_config(record, dtype=tt.float64)
    assert again.config == model.config
    assert repr(again.load_state_dict(model.state_dict())) == "<All keys matched successfully>"


def test_errors_say_what_was_given():
    for options, message in (
        ({"heads": 3}, "heads to divide width, got width 128 and heads 3"),
        ({"layers": 0}, "expected layers to be an int >= 1, got 0"),
        ({"context": 8.0}, "expected context to be an int >= 1, got 8.0"),
        ({"dropout": 1.0}, r"expected dropout in \[0, 1\), got 1.0"),
        ({"depth": 2}, "gpt has no depth; expected vocab_size, context, width"),
    ):
        with pytest.raises(ValueError, match=message):
            models.create("small", 65, **options)
    with pytest.raises(ValueError, match=r"one of tiny, small, medium, .*, got 'large'"):
        models.create("large", 65)
    known = ", ".join(spec.name for spec in models.specs())
    with pytest.raises(ValueError, match=f"architecture to be one of {known}, got 'lstm'"):
        models.from_config({"architecture": "lstm"})
    with pytest.raises(ValueError, match=r"missing .* 'vocab_size'"):
        models.from_config({"architecture": "gpt", **models.presets()["tiny"]})
    model = GPT(CONFIG)
    with pytest.raises(ValueError, match="at most context = 6 tokens, got 7"):
        model(tt.tensor(np.zeros((1, 7), dtype=np.int64)))
    with pytest.raises(ValueError, match=r"shape \(B, T\), got \(3,\)"):
        model(tt.tensor(np.zeros(3, dtype=np.int64)))
    with pytest.raises(IndexError):
        model(tt.tensor(np.array([[SIZE.vocab]])))
