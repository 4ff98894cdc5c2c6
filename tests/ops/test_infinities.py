"""Zero, infinity and numbers near the ends of a type: values, and derivatives of two orders."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinytape as tt
from tinytape.nn import functional as F
from tinytape.nn.utils import clip_grad_norm_

INF, NAN = math.inf, math.nan
FLOATS = pytest.mark.parametrize("dtype", [tt.float32, tt.float64])


def leaf(values, dtype=tt.float32):
    return tt.tensor(values, dtype=dtype, requires_grad=True)


def derivatives(f, x):
    """f(x), its gradient by kernel and by vjp, and the gradient of that, likewise: (5 arrays)."""
    y = f(x)
    (kernel,) = tt.grad(y.sum(), x, retain_graph=True)
    (vjp,) = tt.grad(y.sum(), x, create_graph=True)
    second = [
        tt.grad(vjp.sum(), x, retain_graph=True, create_graph=graph)[0] for graph in (False, True)
    ]
    return [v.detach().numpy() for v in (y, kernel, vjp, *second)]


# ---- division ------------------------------------------------------------------------------------

SIZES = [1e-37, 3e-20, 1e-19, 1.0, 1e19, 3e20, 1e37]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("b", SIZES)
def test_a_quotient_has_the_gradients_that_float32_can_hold(b, create_graph):
    for a in SIZES:
        expected = -a / b / b
        if not 1e-37 < -expected < 1e37 or not 1e-37 < a / b < 1e37:
            continue
        x, y = leaf([a]), leaf([b])
        dx, dy = tt.grad((x / y).sum(), (x, y), create_graph=create_graph)
        np.testing.assert_allclose(dx.item(), 1 / b, rtol=1e-5, err_msg=f"{a} / {b}")
        np.testing.assert_allclose(dy.item(), expected, rtol=1e-5, err_msg=f"{a} / {b}")


def test_shares_of_tiny_and_huge_numbers_add_up_to_one():
    for size in (3e-20, 1e-30, 1e20, 1e30):
        x = leaf([size, 2 * size, 3 * size])
        (x / x.abs().sum()).sum().backward()
        np.testing.assert_allclose(x.grad.numpy() * size, 0.0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-10, 1e10, 1e-18, 1e18])
def test_powers_are_multiplied_one_by_one(size):
    """The power alone may be no float32, and yet its product with a small gradient."""
    for f, slope in (
        (tt.reciprocal, lambda x: -(x**-2)),
        (lambda x: 1 / x, lambda x: -(x**-2)),
        (lambda x: x**-1, lambda x: -(x**-2)),
        (lambda x: x**-2, lambda x: -2 * x**-3),
        (tt.rsqrt, lambda x: -0.5 * x**-1.5),
        (lambda x: x**3, lambda x: 3 * x**2),
        (lambda x: x**4, lambda x: 4 * x**3),
    ):
        x = np.float64(np.float32(size))
        scale = 1 / slope(x)  # the gradient that comes back is 1
        if not 1e-36 < abs(scale) < 1e36 or not f(tt.tensor(x)).item() < 1e37:
            continue
        for create_graph in (False, True):
            y = f(leaf_x := leaf([x]))
            (g,) = tt.grad(
                y, leaf_x, tt.tensor([scale], dtype=tt.float32), create_graph=create_graph
            )
            np.testing.assert_allclose(g.item(), 1.0, rtol=1e-5)


# ---- functions of one number ---------------------------------------------------------------------

#: f: its value, slope and curvature at 0, inf and -inf.
LIMITS = {
    "1 / x": (lambda x: 1 / x, [INF, 0, 0], [-INF, 0, 0], [INF, 0, 0]),
    "reciprocal": (tt.reciprocal, [INF, 0, 0], [-INF, 0, 0], [INF, 0, 0]),
    "x**-1": (lambda x: x**-1, [INF, 0, 0], [-INF, 0, 0], [INF, 0, 0]),
    "x**-2": (lambda x: x**-2, [INF, 0, 0], [-INF, 0, 0], [INF, 0, 0]),
    "x**2": (tt.square, [0, INF, INF], [0, INF, -INF], [2, 2, 2]),
    "x**3": (lambda x: x**3, [0, INF, -INF], [0, INF, INF], [0, INF, -INF]),
    "sqrt": (tt.sqrt, [0, INF, NAN], [INF, 0, NAN], [-INF, 0, NAN]),
    "rsqrt": (tt.rsqrt, [INF, 0, NAN], [-INF, 0, NAN], [INF, 0, NAN]),
    "log": (tt.log, [-INF, INF, NAN], [INF, 0, 0], [-INF, 0, 0]),
    "log1p": (tt.log1p, [0, INF, NAN], [1, 0, 0], [-1, 0, 0]),
    "exp": (tt.exp, [1, INF, 0], [1, INF, 0], [1, INF, 0]),
    "expm1": (tt.expm1, [0, INF, -1], [1, INF, 0], [1, INF, 0]),
    "erf": (tt.erf, [0, 1, -1], [2 / math.sqrt(math.pi), 0, 0], [0, 0, 0]),
    "tanh": (tt.tanh, [0, 1, -1], [1, 0, 0], [0, 0, 0]),
    "sigmoid": (tt.sigmoid, [0.5, 1, 0], [0.25, 0, 0], [0, 0, 0]),
    "softplus": (F.softplus, [math.log(2), INF, 0], [0.5, 1, 0], [0.25, 0, 0]),
    "silu": (F.silu, [0, INF, 0], [0.5, 1, 0], [0.5, 0, 0]),
    "gelu": (F.gelu, [0, INF, 0], [0.5, 1, 0], [math.sqrt(2 / math.pi), 0, 0]),
    "gelu tanh": (
        lambda x: F.gelu(x, "tanh"),
        [0, INF, 0],
        [0.5, 1, 0],
        [math.sqrt(2 / math.pi), 0, 0],
    ),
}


@FLOATS
@pytest.mark.parametrize("name", LIMITS)
def test_what_a_function_tends_to(name, dtype):
    f, *expected = LIMITS[name]
    y, kernel, vjp, *second = derivatives(f, leaf([0.0, INF, -INF], dtype))
    np.testing.assert_allclose(y, expected[0], rtol=1e-6)
    for slope in (kernel, vjp):
        np.testing.assert_allclose(slope, expected[1], rtol=1e-6)
    for curvature in second:
        np.testing.assert_allclose(curvature, expected[2], rtol=1e-6)


@FLOATS
@pytest.mark.parametrize("size", [50.0, 1e5, 1e12, 1e19, 1e30])
def test_a_gate_is_open_or_shut_far_away(size, dtype):
    for f in (F.silu, F.gelu, lambda x: F.gelu(x, "tanh")):
        y, kernel, vjp, *second = derivatives(f, leaf([size, -size], dtype))
        np.testing.assert_allclose(y, np.array([size, 0.0], dtype.numpy), atol=1e-19)
        for slope in (kernel, vjp):
            np.testing.assert_allclose(slope, [1.0, 0.0], atol=1e-19)
        for curvature in second:
            np.testing.assert_allclose(curvature, 0.0, atol=1e-18)
    one = tt.ones(1, 1, dtype=dtype)
    for name in ("silu", "gelu", "gelu_tanh"):
        x = leaf([[size], [-size], [INF], [-INF]], dtype)
        y = F.linear_activation(x, one, activation=name)
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), [[1], [0], [1], [0]], atol=1e-19)
        np.testing.assert_allclose(y.numpy()[2:], [[INF], [0]])


# ---- losses --------------------------------------------------------------------------------------


@FLOATS
def test_a_certain_prediction_costs_nothing_or_everything(dtype):
    logits = [INF, INF, -INF, -INF, INF, -INF]
    targets = [0.0, 1.0, 0.0, 1.0, 0.5, 0.5]
    expected = [INF, 0, 0, INF, INF, INF]
    t = tt.tensor(targets, dtype=dtype)
    three = tt.full((6,), 3.0, dtype=dtype)
    for options in ({}, {"weight": three}, {"pos_weight": three}, {"pos_weight": three / 6}):
        x = leaf(logits, dtype)
        losses = F.binary_cross_entropy_with_logits(x, t, reduction="none", **options)
        assert losses.tolist() == expected
        losses.sum().backward()
        assert x.grad.tolist()[1:3] == [0.0, 0.0] and np.isfinite(x.grad.numpy()).all()
    x = leaf(logits, dtype)
    nothing = F.binary_cross_entropy_with_logits(x, t, weight=tt.zeros(6, dtype=dtype))
    nothing.backward()
    assert nothing.item() == 0.0 and x.grad.tolist() == [0.0] * 6


@FLOATS
def test_a_masked_class_costs_nothing_where_it_is_not_the_target(dtype):
    x = leaf([[0.0, -INF, 0.0]], dtype)
    half = math.log(2)
    for target in (tt.tensor([0]), tt.tensor([[0.5, 0.0, 0.5]], dtype=dtype)):
        x.grad = None
        loss = F.cross_entropy(x, target)
        loss.backward()
        np.testing.assert_allclose(loss.item(), half, rtol=1e-6)
        assert np.isfinite(x.grad.numpy()).all() and x.grad.tolist()[0][1] == 0.0
    for target in (tt.tensor([1]), tt.tensor([[0.5, 0.5, 0.0]], dtype=dtype)):
        assert F.cross_entropy(x, target).item() == INF
    ignored = tt.tensor([1.0, 0.0, 1.0], dtype=dtype)  # a weight of 0 takes an infinite loss away
    target = tt.tensor([[0.5, 0.5, 0.0]], dtype=dtype)
    np.testing.assert_allclose(F.cross_entropy(x, target, ignored).item(), half / 2, rtol=1e-6)
    nothing = leaf([[-INF, -INF]], dtype)
    total = nothing.logsumexp(1)
    total.sum().backward()
    assert total.tolist() == [-INF] and nothing.grad.tolist() == [[0.0, 0.0]]
    q = k = tt.ones(1, 2, 3, dtype=dtype)
    seen = tt.tensor([[True, False], [False, False]])
    assert F.scaled_dot_product_attention(q, k, k, seen).tolist() == [[[1.0] * 3, [0.0] * 3]]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_weights_of_classes_are_relative(size):
    x, t = leaf([[3.0, 1.0], [0.5, 2.0]]), tt.tensor([0, 0])
    results = []
    for scale in (1.0, size):
        w = tt.tensor([2 * scale, 3 * scale])
        for f in (F.cross_entropy, F.nll_loss):
            for create_graph in (False, True):
                loss = f(x * 1e9, t, w)
                results.append(
                    [loss.item(), *tt.grad(loss, x, create_graph=create_graph)[0].tolist()]
                )
    for got, expected in zip(results[4:], results[:4], strict=True):
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(np.array(got[1:]), np.array(expected[1:]), rtol=1e-5)
    y = leaf([1e5, 2e5])
    loss = F.mse_loss(y, tt.zeros(2), weight=tt.tensor([size, size]))
    loss.backward()
    np.testing.assert_allclose(loss.item(), 2.5e10, rtol=1e-5)
    np.testing.assert_allclose(y.grad.numpy(), [1e5, 2e5], rtol=1e-5)


# ---- reductions ----------------------------------------------------------------------------------


@FLOATS
@pytest.mark.parametrize("value", [123.4, 0.1, -7e-5, 1e4 / 3])
def test_equal_elements_have_their_value_for_mean_and_no_spread(value, dtype):
    for n in (3, 10, 100, 4096, 5000):
        x = tt.full((3, n), value, dtype=dtype, requires_grad=True)
        for dim in (0, 1):
            rows = x if dim == 1 else x.t().contiguous()
            assert rows.mean(dim).tolist() == [x.tolist()[0][0]] * 3
            assert rows.var(dim).tolist() == rows.std(dim).tolist() == [0.0] * 3
            (g,) = tt.grad((rows.var(dim) + rows.std(dim)).sum(), x, create_graph=True)
            assert not g.numpy().any()
        w = tt.tensor(np.random.default_rng(0).standard_normal((3, n)), dtype=dtype)
        for f in (
            lambda x: F.layer_norm(x, (n,)),  # noqa: B023
            lambda x: F.layer_norm(x, (n,), tt.ones(n, dtype=dtype), tt.zeros(n, dtype=dtype)),  # noqa: B023
        ):
            y = f(x)
            assert not y.numpy().any()
            (g,) = tt.grad(y, x, w)
            expected = (w - w.mean(1, keepdim=True)).numpy() / math.sqrt(1e-5)
            np.testing.assert_allclose(g.numpy(), expected, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(F.rms_norm(x, (n,), eps=0.0).numpy(), np.sign(value), rtol=1e-6)


@FLOATS
def test_normal_rows_are_normal_at_any_scale(dtype):
    rows = np.random.default_rng(1).standard_normal((4, 70))
    most = 300 if dtype is tt.float64 else 36
    for exponent in (-most, -most // 2, most // 2, most):
        for centred in (False, True):
            x = leaf(rows * 10.0**exponent, dtype)
            f = F.layer_norm if centred else F.rms_norm
            expected = rows - rows.mean(1, keepdims=True) if centred else rows
            expected = expected / np.sqrt((expected**2).mean(1, keepdims=True))
            y = f(x, (70,), eps=0.0)
            np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)
            (g,) = tt.grad(y, x, tt.tensor(rows**2, dtype=dtype), create_graph=True)
            plain = leaf(rows, tt.float64)
            y = f(plain, (70,), eps=0.0)
            (e,) = tt.grad(y, plain, tt.tensor(rows**2))
            np.testing.assert_allclose(g.numpy() * 10.0**exponent, e.numpy(), atol=1e-4)


@FLOATS
def test_norms_are_taken_of_scaled_numbers(dtype):
    """The square of the number need not exist."""
    most = 300 if dtype is tt.float64 else 36
    for exponent in (-most, most):
        size = 10.0**exponent
        x = leaf([[3 * size, 4 * size], [0.0, 0.0]], dtype)
        for p, expected in ((2, 5.0), (3, 91 ** (1 / 3)), (20, 4.0 * (1 + 0.75**20) ** 0.05)):
            y = tt.norm(x, p, 1)
            np.testing.assert_allclose(y.numpy() / size, [expected, 0.0], rtol=1e-5)
            (g,) = tt.grad(y.sum(), x)
            slopes = [(3 / expected) ** (p - 1), (4 / expected) ** (p - 1)]
            np.testing.assert_allclose(g.numpy(), [slopes, [0.0, 0.0]], rtol=1e-4)
        assert tt.norm(x, -2, 1).tolist()[1] == 0.0
        w = leaf([1.0, 1.0], dtype)
        w.grad = tt.tensor([3 * size, 4 * size], dtype=dtype)
        for p, expected in ((2.0, 5.0), (20.0, 4.0 * (1 + 0.75**20) ** 0.05), (INF, 4.0)):
            norm = clip_grad_norm_([w], INF, p).item()
            np.testing.assert_allclose(norm / size, expected, rtol=1e-6)
    nan = tt.tensor([[1.0, NAN], [INF, 1.0]], dtype=dtype)
    assert [math.isnan(v) for v in tt.norm(nan, 2, 1).tolist()] == [True, False]
    assert tt.norm(nan, 2, 1).tolist()[1] == INF


def test_muon_takes_gradients_of_any_size():
    g = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    weights = []
    for size in (1.0, 1e25):
        w = tt.zeros(3, 4, requires_grad=True)
        w.grad = tt.tensor(g * np.float32(size))
        tt.optim.Muon([w], lr=1.0, weight_decay=0.0).step()
        weights.append(w.detach().numpy())
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-4, atol=1e-5)


@FLOATS
@pytest.mark.parametrize("shift", [0.0, 1e6, -1e8, 1e30])
def test_logsumexp_has_the_gradient_of_its_softmax(shift, dtype):
    x = leaf([[shift, shift], [shift, 0.5 * shift]], dtype)
    share = F.softmax(x, 1).numpy()
    for create_graph in (False, True):
        (g,) = tt.grad(x.logsumexp(1).sum(), x, create_graph=create_graph)
        np.testing.assert_allclose(g.numpy(), share, rtol=1e-6)
        np.testing.assert_allclose(g.numpy().sum(1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_others_of_a_product_need_not_be_held_one_by_one(create_graph):
    x = leaf([1e20, 1e20, 1e-20, 1e-20])
    (g,) = tt.grad(x.prod(), x, create_graph=create_graph)
    np.testing.assert_allclose(g.numpy(), [1e-20, 1e-20, 1e20, 1e20], rtol=1e-5)
