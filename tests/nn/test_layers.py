"""Layers against formulas written out in numpy, and the initial values."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F
from tinytape.nn import init

RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def double(x: np.ndarray) -> tt.Tensor:
    return tt.tensor(x, dtype=tt.float64)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_linear():
    layer = nn.Linear(3, 4, dtype=tt.float64)
    x = array(2, 5, 3)
    expected = x @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(double(x)).numpy(), expected, rtol=1e-12)
    plain = nn.Linear(3, 4, bias=False, dtype=tt.float64)
    assert plain.bias is None and list(plain.state_dict()) == ["weight"]
    expected = x @ plain.weight.numpy().T
    np.testing.assert_allclose(plain(double(x)).numpy(), expected, rtol=1e-12)
    assert nn.Identity()(layer) is layer


def test_linear_of_few_rows_is_cut_by_columns():
    """Each part of the product gets the bias and the activation of its own columns, once."""
    x, w, b = array(48, 300), array(1200, 300) / 20, array(1200)
    z = x @ w.T + b
    got = F.linear(double(x), double(w), double(b)).numpy()
    np.testing.assert_allclose(got, z, rtol=1e-9, atol=1e-12)
    x, w, b = double(x), double(w), double(b).requires_grad_()
    y = F.linear_activation(x, w, b, activation="silu")
    s = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(y.numpy(), z * s, rtol=1e-9, atol=1e-12)
    y.sum().backward()
    expected = (s * (1 + z * (1 - s))).sum(0)
    np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_linear_activation_keeps_its_bias_for_the_second_order():
    x, w, b = (tt.ones(*s, requires_grad=True) for s in ((2, 3), (4, 3), (4,)))
    y = F.linear_activation(x, w, b, activation="gelu")
    with tt.no_grad():
        b.fill_(0.0)
    with pytest.raises(RuntimeError, match=r"linear_activation: input 2 .*changed in place"):
        tt.grad(y.sum(), x, create_graph=True)


def test_layer_norm():
    layer = nn.LayerNorm((2, 3), eps=0.1, dtype=tt.float64)
    weight, bias, x = array(2, 3), array(2, 3), array(4, 2, 3)
    layer.load_state_dict({"weight": weight, "bias": bias})
    mean = x.mean((1, 2), keepdims=True)
    var = x.var((1, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(var + 0.1) * weight + bias
    np.testing.assert_allclose(layer(double(x)).numpy(), expected, rtol=1e-12)
    layer.reset_parameters()
    assert np.all(layer.weight.numpy() == 1.0) and np.all(layer.bias.numpy() == 0.0)
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    bare = nn.LayerNorm(3, elementwise_affine=False)
    assert list(bare.parameters()) == []
    x = array(2, 3)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(bare(double(x)).numpy(), expected, rtol=1e-12)


def test_rms_norm():
    layer = nn.RMSNorm((2, 3), eps=0.1, dtype=tt.float64)
    weight, x = array(2, 3), array(4, 2, 3)
    layer.load_state_dict({"weight": weight})
    expected = x / np.sqrt((x**2).mean((1, 2), keepdims=True) + 0.1) * weight
    np.testing.assert_allclose(layer(double(x)).numpy(), expected, rtol=1e-12)
    layer.reset_parameters()
    assert np.all(layer.weight.numpy() == 1.0)
    bare = nn.RMSNorm(3, elementwise_affine=False)
    assert list(bare.parameters()) == []
    # As small as the default eps, which is the machine's of the type.
    for dtype in (np.float32, np.float64):
        eps = np.finfo(dtype).eps
        x = np.array([[1.0, -2.0, 2.0]], dtype) * np.sqrt(dtype(eps))
        expected = x / np.sqrt((x**2).mean() + eps)
        np.testing.assert_allclose(bare(tt.tensor(x)).numpy(), expected, rtol=4 * eps)


def test_embedding():
    layer = nn.Embedding(5, 3)
    idx = np.array([[4, 0], [2, 4]])
    out = layer(tt.tensor(idx))
    assert np.array_equal(out.numpy(), layer.weight.numpy()[idx])
    out.sum().backward()
    counts = np.bincount(idx.ravel(), minlength=5)
    assert np.array_equal(layer.weight.grad.numpy(), np.repeat(counts[:, None], 3, 1))
    with pytest.raises(IndexError):
        layer(tt.tensor(np.array([5])))


def test_activations():
    x = array(3, 4)
    exact = [[0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in x]
    np.testing.assert_allclose(nn.GELU()(double(x)).numpy(), exact, rtol=1e-10)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    tanh = nn.GELU(approximate="tanh")(double(x)).numpy()
    np.testing.assert_allclose(tanh, 0.5 * x * (1 + np.tanh(inner)), rtol=1e-10)
    np.testing.assert_allclose(nn.Softmax(dim=-1)(double(x)).numpy(), softmax(x), rtol=1e-12)
    log = nn.LogSoftmax(dim=0)(double(x)).numpy()
    np.testing.assert_allclose(log, np.log(softmax(x.T)).T, rtol=1e-12)
    np.testing.assert_allclose(nn.Tanh()(double(x)).numpy(), np.tanh(x), rtol=1e-12)
    with pytest.raises(ValueError, match="Softmax: expected dim"):
        nn.Softmax()


def test_cross_entropy_loss():
    scores, target = array(4, 3), np.array([0, 2, -1, 1])
    losses = -np.log(softmax(scores)[np.arange(4), target])
    losses[2] = 0.0
    for reduction, expected in (
        ("mean", losses.sum() / 3),
        ("sum", losses.sum()),
        ("none", losses),
    ):
        layer = nn.CrossEntropyLoss(ignore_index=-1, reduction=reduction)
        got = layer(double(scores), tt.tensor(target)).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_losses_of_classes_pass_everything_on():
    scores, target, weight = array(4, 3, 2), RNG.integers(0, 3, (4, 2)), np.array([1.0, 2.0, 0.5])
    target[1] = 2
    log_p = np.log(softmax(np.moveaxis(scores, 1, -1)))
    picked = -np.take_along_axis(log_p, target[..., None], -1)[..., 0] * weight[target]
    smooth = 0.7 * picked + 0.3 / 3 * (-log_p @ weight)
    counts = target != 2
    total = weight[target][counts].sum()
    layer = nn.CrossEntropyLoss(double(weight), ignore_index=2, label_smoothing=0.3)
    got = layer(double(scores), tt.tensor(target)).item()
    assert got == pytest.approx(smooth[counts].sum() / total, rel=1e-12)
    assert list(layer.state_dict()) == ["weight"] and list(layer.parameters()) == []
    layer = nn.NLLLoss(double(weight), ignore_index=2)
    got = layer(double(np.moveaxis(log_p, -1, 1)), tt.tensor(target)).item()
    assert got == pytest.approx(picked[counts].sum() / total, rel=1e-12)
    assert list(nn.NLLLoss().state_dict()) == []
    # Certain probabilities are indices, but their mean does not know the weights.
    certain = double(np.moveaxis(np.eye(3)[target], -1, 1))
    layer = nn.CrossEntropyLoss(double(weight), label_smoothing=0.3, reduction="none")
    np.testing.assert_allclose(
        layer(double(scores), certain).numpy(),
        layer(double(scores), tt.tensor(target)).numpy(),
        rtol=1e-12,
    )
    layer.reduction = "mean"
    assert layer(double(scores), certain).item() == pytest.approx(smooth.mean(), rel=1e-12)


def test_binary_cross_entropy_with_logits():
    x, t = array(3, 4), RNG.uniform(size=(3, 4))
    weight, pos_weight = RNG.uniform(1, 2, (3, 1)), RNG.uniform(1, 2, 4)
    p = 1 / (1 + np.exp(-x))
    losses = -weight * (pos_weight * t * np.log(p) + (1 - t) * np.log(1 - p))
    for reduction, expected in (
        ("mean", losses.mean()),
        ("sum", losses.sum()),
        ("none", losses),
    ):
        layer = nn.BCEWithLogitsLoss(
            double(weight), reduction=reduction, pos_weight=double(pos_weight)
        )
        np.testing.assert_allclose(layer(double(x), double(t)).numpy(), expected, rtol=1e-12)
        assert list(layer.state_dict()) == ["weight", "pos_weight"]
    # Far from zero neither overflow nor loss of what is small; and at zero, where its parts bend,
    # the slope is the function's.
    for dtype in (tt.float32, tt.float64):
        x = tt.tensor([-80.0, 0.0, 80.0, 1e30], dtype=dtype, requires_grad=True)
        losses = F.binary_cross_entropy_with_logits(
            x, tt.tensor([0.0, 0.25, 1.0, 0.0], dtype=dtype), reduction="none"
        )
        expected = [math.exp(-80), math.log(2), math.exp(-80), 1e30]
        np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-6)
        losses.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), [math.exp(-80), 0.25, 0, 1], rtol=1e-5)


def test_mse_loss():
    x, y = array(3, 4), array(3, 4)
    for reduction, expected in (
        ("mean", ((x - y) ** 2).mean()),
        ("sum", ((x - y) ** 2).sum()),
        ("none", (x - y) ** 2),
    ):
        got = nn.MSELoss(reduction=reduction)(double(x), double(y)).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_dropout_masks_scale_and_go_on_from_a_saved_state():
    x = tt.ones(64, 64)
    layer = nn.Dropout(0.25, generator=tt.Generator(3))
    out = layer(x).numpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((out == 0).mean() - 0.25) < 0.03
    state = layer.generator.get_state()
    second = layer(x).numpy()
    assert not np.array_equal(out, second)
    layer.generator.set_state(state)
    assert np.array_equal(layer(x).numpy(), second)
    layer.eval()
    assert layer(x) is x and layer.generator.get_state() != state
    with pytest.raises(ValueError, match=r"expected p in \[0, 1\], got 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="inplace"):
        nn.Dropout(0.5, inplace=True)


def test_dropout_gradient_uses_the_same_mask():
    x = tt.ones(100, requires_grad=True)
    out = nn.Dropout(0.5)(x)
    out.sum().backward()
    assert np.array_equal(x.grad.numpy(), out.numpy())


def attention_by_loops(x, qkv_w, qkv_b, proj_w, proj_b, heads):
    B, T, C = x.shape
    D = C // heads
    out = np.zeros_like(x)
    for b in range(B):
        q, k, v = np.split(x[b] @ qkv_w.T + qkv_b, 3, axis=1)
        for h in range(heads):
            at = slice(h * D, (h + 1) * D)
            for t in range(T):
                weights = softmax(k[: t + 1, at] @ q[t, at] / math.sqrt(D))
                out[b, t, at] = weights @ v[: t + 1, at]
    return out @ proj_w.T + proj_b


def test_causal_self_attention_and_its_cache():
    layer = nn.CausalSelfAttention(8, 2, dtype=tt.float64)
    x = array(2, 6, 8)
    p = {name: value.numpy() for name, value in layer.state_dict().items()}
    expected = attention_by_loops(
        x, p["qkv.weight"], p["qkv.bias"], p["proj.weight"], p["proj.bias"], heads=2
    )
    np.testing.assert_allclose(layer(double(x)).numpy(), expected, rtol=1e-10, atol=1e-12)
    # Three tokens at once, one alone, two after those: the three ways through the cache.
    cache = nn.KVCache(1, 2, heads=2, context=6, head_dim=4, dtype=tt.float64)
    with tt.no_grad():
        parts = []
        for start, stop in ((0, 3), (3, 4), (4, 6)):
            parts.append(layer(double(x[:, start:stop]), cache).numpy())
            cache.advance(stop - start)
    np.testing.assert_allclose(np.concatenate(parts, 1), expected, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="heads to divide width, got width 6 and heads 4"):
        nn.CausalSelfAttention(6, 4)


def test_causal_self_attention_drops_weights_in_training_only():
    layer = nn.CausalSelfAttention(
        8, 2, attention_dropout=0.5, dtype=tt.float64, generator=tt.Generator(4)
    )
    x = double(array(2, 6, 8))
    offset = layer.dropout.generator.offset
    dropped = layer(x).numpy()
    assert layer.dropout.generator.offset == offset + 2 * 2 * 6 * 6
    assert not np.array_equal(layer(x).numpy(), dropped)
    layer.dropout.generator.offset = offset
    assert np.array_equal(layer(x).numpy(), dropped)
    layer.eval()
    plain = nn.CausalSelfAttention(8, 2, dtype=tt.float64)
    plain.load_state_dict(layer.state_dict())
    assert np.array_equal(layer(x).numpy(), plain(x).numpy())
    assert not np.allclose(layer(x).numpy(), dropped)
    with pytest.raises(ValueError, match=r"expected attention_dropout in \[0, 1\], got -0.5"):
        nn.CausalSelfAttention(8, 2, attention_dropout=-0.5)


def moments(tensor: tt.Tensor) -> tuple[float, float, float, float]:
    x = tensor.numpy().astype(np.float64)
    return x.mean(), x.std(), x.min(), x.max()


def test_default_initial_values_are_pytorchs():
    generator = tt.Generator(1)
    layer = nn.Linear(100, 200, generator=generator)
    for param in (layer.weight, layer.bias):
        mean, std, low, high = moments(param)
        assert -0.1 <= low < -0.095 and 0.095 < high <= 0.1
        assert abs(mean) < 0.01 and std == pytest.approx(0.1 / math.sqrt(3), rel=0.1)
    mean, std, _, _ = moments(nn.Embedding(100, 100, generator=generator).weight)
    assert abs(mean) < 0.03 and std == pytest.approx(1.0, rel=0.03)


def test_init_functions():
    weight = nn.Parameter(tt.zeros(50, 40))
    one, other = tt.Generator(5), tt.Generator(5)
    for fill in (init.normal_, init.uniform_, init.kaiming_uniform_, init.xavier_uniform_):
        assert fill(weight, generator=one) is weight and weight.is_leaf and weight.requires_grad
        first = weight.numpy()
        fill(weight, generator=one)
        second = weight.numpy()
        assert not np.array_equal(first, second)
        fill(weight, generator=other)
        assert np.array_equal(weight.numpy(), first)
        fill(weight, generator=other)
        assert np.array_equal(weight.numpy(), second)
    mean, std, _, _ = moments(init.normal_(weight, 3.0, 0.5, generator=one))
    assert mean == pytest.approx(3.0, abs=0.05) and std == pytest.approx(0.5, rel=0.05)
    _, _, low, high = moments(init.uniform_(weight, 2.0, 4.0, generator=one))
    assert 2.0 <= low < 2.01 and 3.99 < high <= 4.0
    _, _, _, high = moments(init.kaiming_uniform_(weight, nonlinearity="relu", generator=one))
    assert high == pytest.approx(math.sqrt(6 / 40), rel=0.01)
    _, _, _, high = moments(init.kaiming_uniform_(weight, mode="fan_out", generator=one))
    assert high == pytest.approx(math.sqrt(6 / 50), rel=0.01)
    _, _, _, high = moments(init.xavier_uniform_(weight, gain=2.0, generator=one))
    assert high == pytest.approx(2 * math.sqrt(6 / 90), rel=0.01)
    assert np.all(init.ones_(weight).numpy() == 1) and np.all(init.zeros_(weight).numpy() == 0)
    assert np.all(init.constant_(weight, 2.5).numpy() == 2.5)
    with pytest.raises(ValueError, match="at least 2 dimensions, got shape \\(3,\\)"):
        init.xavier_uniform_(tt.zeros(3))
    with pytest.raises(ValueError, match="fan_in or fan_out, got 'fan'"):
        init.kaiming_uniform_(weight, mode="fan")


def grads_of(*values: list[float]) -> list[nn.Parameter]:
    params = []
    for value in values:
        param = nn.Parameter(tt.zeros(len(value)))
        param.grad = tt.tensor(value)
        params.append(param)
    return params


def test_clip_grad_norm():
    params = [*grads_of([3.0], [0.0, 4.0]), nn.Parameter(tt.zeros(1))]  # the last has no gradient
    assert float(nn.utils.clip_grad_norm_(params, 10.0)) == 5.0
    assert params[0].grad.tolist() == [3.0] and params[1].grad.tolist() == [0.0, 4.0]
    assert float(nn.utils.clip_grad_norm_(iter(params), 1.0)) == 5.0
    assert params[0].grad.item() == pytest.approx(0.6, rel=1e-6)
    assert params[1].grad.tolist()[1] == pytest.approx(0.8, rel=1e-6)
    params = grads_of([3.0], [-4.0])
    assert float(nn.utils.clip_grad_norm_(params, 2.0, norm_type=float("inf"))) == 4.0
    assert params[0].grad.item() == pytest.approx(1.5, rel=1e-6)
    params = grads_of([3.0], [-4.0])
    assert float(nn.utils.clip_grad_norm_(params, 3.5, norm_type=1.0)) == pytest.approx(7.0)
    assert params[1].grad.item() == pytest.approx(-2.0, rel=1e-6)
    assert float(nn.utils.clip_grad_norm_(grads_of([2.0])[0], 1.0)) == 2.0
    assert float(nn.utils.clip_grad_norm_([nn.Parameter(tt.zeros(1))], 1.0)) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_clip_grad_norm_refuses_what_is_not_finite_and_changes_nothing(bad):
    params = grads_of([3.0], [bad])
    with pytest.raises(tt.errors.NonFiniteError, match="not finite"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.tolist() == [3.0]
    assert not math.isfinite(float(nn.utils.clip_grad_norm_(params, 1.0)))
