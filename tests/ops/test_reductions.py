"""Reductions and sorting where the table does not look: ties, NaN, infinities, nothing, dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt

NAN, INF = float("nan"), float("inf")
INTEGERS = (tt.uint8, tt.int8, tt.int16, tt.int32, tt.int64)


def leaf(data, dtype=tt.float64):
    return tt.tensor(data, dtype=dtype, requires_grad=True)


def grad_of(function, data, dtype=tt.float64):
    x = leaf(data, dtype)
    return tt.grad(function(x).sum(), [x])[0].tolist()


def second_of(function, data):
    """The gradient of <the gradient, 1, 2, 3, ...>."""
    x = leaf(data)
    (g,) = tt.grad(function(x).sum(), [x], create_graph=True)
    weights = tt.tensor(np.arange(1.0, g.numel() + 1).reshape(g.shape))
    return tt.grad((g * weights).sum(), [x])[0].tolist()


# ---- the largest and the smallest ----------------------------------------------------------------


def test_equals_share_the_gradient_of_amax_and_the_first_takes_that_of_max():
    data = [[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]]
    third = 1 / 3
    assert grad_of(lambda x: x.amax(1), data) == [[0.5, 0.0, 0.5], [third, third, third]]
    assert grad_of(lambda x: x.amax((0, 1)), data) == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert grad_of(tt.max, data) == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert grad_of(tt.amin, data) == grad_of(tt.min, data) == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert grad_of(lambda x: x.max(1).values, data) == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert grad_of(lambda x: x.min(0).values, data) == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]


@pytest.mark.parametrize("shape", [(5,), (5, 70)])
def test_the_first_of_equals_and_the_first_nan_is_found(shape):
    """Along a line, and along columns that go side by side."""
    column = (5,) + (1,) * (len(shape) - 1)
    x = np.broadcast_to(np.reshape([1.0, 7.0, 7.0, 0.0, 0.0], column), shape).copy()
    assert (tt.tensor(x).argmax(0).numpy() == 1).all()
    assert (tt.tensor(x).argmin(0).numpy() == 3).all()
    x[2:4] = NAN
    values, indices = tt.tensor(x).max(0)
    assert np.isnan(values.numpy()).all() and (indices.numpy() == 2).all()
    values, indices = tt.tensor(x).min(0)
    assert np.isnan(values.numpy()).all() and (indices.numpy() == 2).all()
    assert np.isnan(tt.tensor(x).amax(0).numpy()).all()
    assert np.isnan(tt.tensor(x).amin(0).numpy()).all()
    x[2:4] = [[-INF], [INF]] if len(shape) > 1 else [-INF, INF]
    assert (tt.tensor(x).amax(0).numpy() == INF).all()
    assert (tt.tensor(x).amin(0).numpy() == -INF).all()


def test_max_has_fields_and_takes_a_dim_by_name():
    found = tt.tensor([[1.0, 5.0], [9.0, 3.0]]).max(dim=-1, keepdim=True)
    assert found.values.tolist() == [[5.0], [9.0]]
    assert found.indices.tolist() == [[1], [0]]
    assert found.indices.dtype is tt.int64
    assert tt.max(tt.tensor([1.0, 5.0]), tt.tensor(3.0)).tolist() == [3.0, 5.0]
    assert tt.tensor([1.0, 5.0]).min(other=tt.tensor([3.0, 3.0])).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"^max: takes either dim or another tensor"):
        found.values.max(0, other=found.values)
    values, indices = found
    assert values is found.values and indices is found[1]
    single = tt.tensor(4.0).min(0)
    assert single.values.item() == 4.0 and single.indices.item() == 0


def test_argmax_of_all_counts_in_the_flattened_tensor():
    x = tt.tensor([[1.0, 5.0], [9.0, 3.0]])
    assert x.argmax().item() == 2
    assert x.permute(1, 0).argmax().item() == 1
    assert x.argmin(keepdim=True).tolist() == [[0]]


@pytest.mark.parametrize("n", [5, 40000])
def test_the_largest_of_lines_in_pieces(n):
    rng = np.random.default_rng(0)
    for shape, axis in (((n,), 0), ((n, 3), 0), ((2, n), 1)):
        x = rng.integers(0, 50, shape).astype(float)
        found = tt.tensor(x).max(axis)
        assert (found.values.numpy() == x.max(axis)).all()
        assert (found.indices.numpy() == x.argmax(axis)).all()
        assert (tt.tensor(x).argmin(axis).numpy() == x.argmin(axis)).all()
        assert (tt.tensor(x).amin(axis).numpy() == x.min(axis)).all()
        g = grad_of(lambda t, axis=axis: t.amax(axis), x)
        ties = x == x.max(axis, keepdims=True)
        assert np.allclose(g, ties / ties.sum(axis, keepdims=True))


@pytest.mark.parametrize(
    "function",
    [tt.max, tt.min, tt.amax, tt.amin, tt.argmax, tt.argmin],
    ids=lambda f: f.__name__,
)
def test_nothing_has_no_largest(function):
    name = function.__name__
    with pytest.raises(IndexError, match=rf"{name}: nothing to choose from"):
        function(tt.zeros(0))
    with pytest.raises(IndexError, match=rf"{name}: .*axis 1 of shape \(2, 0\) has size 0"):
        function(tt.zeros(2, 0), 1)
    found = function(tt.zeros(0, 2), 1)
    found = found.values if name in ("max", "min") else found
    assert found.shape == (0,)


# ---- over nothing, over axes that are not there --------------------------------------------------


def test_reductions_of_nothing():
    nothing = tt.zeros(2, 0)
    assert nothing.sum(1).tolist() == [0, 0]
    assert nothing.prod(1).tolist() == [1, 1]
    assert nothing.logsumexp(1).tolist() == [-INF, -INF]
    assert nothing.norm(dim=1).tolist() == [0, 0]
    assert nothing.all(1).tolist() == [True, True]
    assert nothing.any(1).tolist() == [False, False]
    assert np.isnan([nothing.mean(1).numpy(), nothing.var(1).numpy(), nothing.std(1).numpy()]).all()
    assert nothing.cumsum(1).shape == nothing.sort(1).values.shape == (2, 0)
    assert nothing.topk(0).indices.shape == (2, 0)
    with pytest.raises(IndexError, match=r"norm: the norm of order inf of nothing"):
        nothing.norm(INF)
    for f in (tt.sum, tt.mean, tt.prod, tt.var, tt.std, tt.norm):
        assert grad_of(f, np.zeros((0, 3))) == []


OVER_AXES = (tt.sum, tt.mean, tt.amax, tt.all, tt.any, tt.var, tt.std, tt.logsumexp)


@pytest.mark.parametrize("function", OVER_AXES, ids=lambda f: f.__name__)
def test_axes_that_do_not_exist_or_come_twice(function):
    name = function.__name__
    with pytest.raises(IndexError, match=rf"^{name}: axis 2 is out of range"):
        function(tt.ones(2, 3), 2)
    with pytest.raises(ValueError, match=rf"^{name}: axis 1 appears more than once"):
        function(tt.ones(2, 3), (1, -1))
    with pytest.raises(TypeError, match=rf"^{name}: expected a Tensor, got list"):
        function([1.0], 0)


@pytest.mark.parametrize("dim", [0, -1, None])
def test_a_single_value_has_one_axis_to_name(dim):
    x = leaf(3.0)
    options = {} if dim is None else {"dim": dim}
    for f in (tt.sum, tt.mean, tt.prod, tt.amax, tt.amin, tt.norm):
        y = f(x, **options)
        assert y.shape == () and y.item() == 3.0
        assert tt.grad(y, [x])[0].item() == 1.0
    assert tt.argmax(x, **options).item() == 0
    assert tt.all(x, **options).item() is True
    if dim is not None:
        assert tt.logsumexp(x, dim).item() == tt.cumsum(x, dim).item() == 3.0
        assert tt.sort(x, dim).values.item() == tt.topk(x, 1, dim).values.item() == 3.0
        assert second_of(lambda t: tt.sort(t * t, dim).values, 3.0) == 2.0


# ---- dtypes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*INTEGERS, tt.bool], ids=repr)
def test_integers_and_bools(dtype):
    x = tt.tensor([[1, 0, 1], [1, 1, 1]], dtype=dtype)
    for f in (tt.sum, tt.prod, lambda t: t.cumsum(1)):
        assert f(x).dtype is tt.int64
    assert x.sum().item() == 5 and x.prod().item() == 0
    assert x.cumsum(1).tolist() == [[1, 1, 2], [1, 2, 3]]
    assert x.max(1).values.dtype is x.amin().dtype is x.sort().values.dtype is dtype
    assert x.all(1).dtype is x.any().dtype is tt.bool
    assert x.all(1).tolist() == [False, True] and x.any().item() is True
    assert x.argmin(1).tolist() == [1, 0]
    assert x.logsumexp(1).dtype is tt.float32
    for f in (tt.mean, tt.var, tt.std, tt.norm):
        with pytest.raises(
            TypeError, match=rf"^{f.__name__}: .*float32 or float64, got {dtype.name}"
        ):
            f(x)
    assert x.mean(dtype=tt.float64).item() == 5 / 6
    assert x.norm(dtype=tt.float64).item() == pytest.approx(5**0.5)


def test_a_dtype_that_is_asked_for():
    x = leaf([1.75, 2.5])
    assert tt.sum(x, dtype=tt.float32).dtype is tt.float32
    assert tt.sum(x, dtype=tt.int64).item() == 3  # converted first
    assert tt.sum(tt.tensor([200, 100], dtype=tt.uint8), dtype=tt.uint8).item() == 300 % 256
    assert tt.prod(x, 0, dtype=tt.int32).dtype is tt.int32
    assert tt.cumsum(tt.tensor([1, 2]), 0, dtype=tt.float64).dtype is tt.float64
    assert tt.grad(tt.sum(x, dtype=tt.float32), [x])[0].dtype is tt.float64
    with pytest.raises(TypeError, match=r"^mean: .*got int64"):
        tt.mean(x, dtype=tt.int64)
    with pytest.raises(TypeError, match=r"^sum: dtype must be one of tinytape's"):
        tt.sum(x, dtype="float32")


def test_large_integers_are_exact():
    big = 2**53 + 1
    assert tt.tensor([big, 3]).max().item() == big
    assert tt.tensor([big, big - 1]).sort().values.tolist() == [big - 1, big]
    assert tt.tensor([-(2**63), 2**63 - 1]).argmax().item() == 1
    assert tt.tensor([big, 3]).prod().item() == 3 * big


# ---- sums ----------------------------------------------------------------------------------------


def test_float32_sums_are_kept_in_double():
    x = tt.full((100_000,), 0.1)
    exact = 100_000 * float(np.float32(0.1))
    assert tt.mean(x).item() == np.float32(exact / 100_000)
    assert tt.cumsum(x, 0)[-1].item() == np.float32(exact)
    shifted = x + 1000.0
    assert tt.var(shifted).item() < 1e-9


def test_the_gradient_of_a_product_with_zeros():
    assert grad_of(tt.prod, [2.0, 0.0, 5.0]) == [0.0, 10.0, 0.0]
    assert grad_of(tt.prod, [2.0, 0.0, 0.0]) == [0.0, 0.0, 0.0]
    x = leaf([2.0, 0.0, 5.0, 0.0])
    (g,) = tt.grad(tt.prod(x), [x], create_graph=True)
    assert g.tolist() == [0.0, 0.0, 0.0, 0.0]
    (h,) = tt.grad(g[1], [x], create_graph=True)
    assert h.tolist() == [0.0, 0.0, 0.0, 10.0]
    assert tt.grad(h[3], [x])[0].tolist() == [5.0, 0.0, 2.0, 0.0]


def test_every_order_of_a_long_product():
    x = leaf([1.5, -2.0, 3.0, 0.5, 2.0])
    full = np.prod(x.numpy())
    (g,) = tt.grad(tt.prod(x, 0), [x], create_graph=True)
    for i in range(5):
        (h,) = tt.grad(g[i], [x], retain_graph=True)
        expected = [0 if j == i else full / x[i].item() / x[j].item() for j in range(5)]
        assert h.tolist() == pytest.approx(expected)


def test_logsumexp_of_extremes():
    assert tt.tensor([1000.0, 1000.0]).logsumexp(0).item() == pytest.approx(1000 + np.log(2))
    assert tt.tensor([-1000.0, -1000.0]).logsumexp(0).item() == pytest.approx(-1000 + np.log(2))
    assert tt.tensor([INF, 1.0]).logsumexp(0).item() == INF
    assert np.isnan(tt.tensor([NAN, 1.0]).logsumexp(0).item())
    data = [[-INF, -INF], [-INF, 0.0]]
    assert tt.tensor(data).logsumexp(1).tolist() == [-INF, 0.0]
    assert grad_of(lambda x: x.logsumexp(1), data) == [[0.0, 0.0], [0.0, 1.0]]
    assert second_of(lambda x: x.logsumexp(1), data) == [[0.0, 0.0], [0.0, 0.0]]
    assert second_of(lambda x: (x * x).logsumexp(0), [1.0]) == [2.0]


# ---- variances and norms -------------------------------------------------------------------------


def test_without_degrees_of_freedom_there_is_no_variance():
    one = leaf([[3.0], [5.0]])
    assert np.isnan(one.var(1).numpy()).all() and np.isnan(one.std(1).numpy()).all()
    assert one.var(1, correction=0).tolist() == [0.0, 0.0]
    assert tt.tensor([1.0, 2.0]).var(correction=3).item() == INF
    assert np.isnan(grad_of(lambda x: x.var(1), [[3.0], [5.0]])).all()


def test_unbiased_and_correction_are_two_ways_to_say_one_thing():
    x = tt.tensor([1.0, 2.0, 4.0, 9.0], dtype=tt.float64)
    assert x.var(False).item() == x.var(correction=0).item() == x.var(0, False).item() == 9.5
    assert x.std(True).item() == x.std().item() == x.std(dim=0, unbiased=True).item()
    assert x.var(unbiased=False, keepdim=True).shape == (1,)
    with pytest.raises(ValueError, match=r"^std: takes either unbiased or correction"):
        x.std(unbiased=True, correction=1)


def test_the_deviation_of_equals_has_a_gradient_of_zero():
    data = [[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]]
    assert grad_of(lambda x: x.std(1), data) == [[0, 0, 0], pytest.approx([-0.5, 0.0, 0.5])]
    assert second_of(lambda x: x.std(1), data)[0] == [0, 0, 0]


@pytest.mark.parametrize("p", [2, 1, 3, 1.5, INF, 0])
def test_the_norm_of_zeros_has_a_gradient_of_zero(p):
    data = [[0.0, 0.0], [0.0, 2.0]]
    first = 0.0 if p == 0 else 1.0
    assert grad_of(lambda x: x.norm(p, 1), data) == [[0.0, 0.0], [0.0, first]]
    if p not in (0, 1, INF):  # whose gradient is constant
        second = second_of(lambda x: x.norm(p, 1), data)
        assert second[0] == [0.0, 0.0] and np.isfinite(second).all()


def test_norms_of_extremes_and_ties():
    assert grad_of(lambda x: x.norm(INF), [3.0, -3.0, 1.0]) == [0.5, -0.5, 0.0]
    assert grad_of(lambda x: x.norm(-INF), [3.0, -1.0, 1.0]) == [0.0, -0.5, 0.5]
    for p in (2, 1, INF, -INF, 3):
        assert np.isnan(tt.tensor([1.0, NAN, 2.0]).norm(p).item()), p
        assert np.isnan(tt.tensor([[1.0], [NAN], [2.0]]).expand(3, 2).norm(p, 0).numpy()).all(), p
    assert tt.full((40000,), 1e30).norm().item() == pytest.approx(
        2e32
    )  # squares that no float32 is
    long = np.linspace(-1, 1, 40000)
    long[39_000] = NAN  # in the last of the pieces
    assert np.isnan(tt.tensor(long).norm(INF).item())
    assert tt.tensor(np.linspace(-1, 3, 40000)).norm(INF).item() == 3.0
    with pytest.raises(ValueError, match=r"^norm: p must be a number or 'fro', got 'nuc'"):
        tt.ones(2).norm("nuc")
    with pytest.raises(ValueError, match=r"^norm: p must be a number, got NaN"):
        tt.ones(2).norm(NAN)


# ---- truth ---------------------------------------------------------------------------------------


def test_nan_is_not_zero():
    x = tt.tensor([[NAN, 0.0], [-0.0, 0.0]])
    assert x.any(1).tolist() == [True, False]
    assert x.all(0).tolist() == [False, False]
    assert tt.tensor([NAN, 1.0]).all().item() is True
    assert not x.all().requires_grad


# ---- sorting -------------------------------------------------------------------------------------


def test_nan_is_sorted_as_the_largest_and_zeros_are_equal():
    x = tt.tensor([NAN, 1.0, -INF, 0.0, INF, -0.0, NAN, 1.0])
    assert x.argsort().tolist() == [2, 3, 5, 1, 7, 4, 0, 6]
    assert x.argsort(descending=True).tolist() == [0, 6, 4, 1, 7, 3, 5, 2]
    assert np.isnan(x.sort().values.numpy()[-2:]).all()
    assert x.topk(3).indices.tolist() == [0, 6, 4]
    assert x.topk(1, largest=False).values.tolist() == [-INF]
    assert np.signbit(x.sort().values.numpy()[1:3]).tolist() == [False, True]


@pytest.mark.parametrize("n", [17, 1000, 70_000])
def test_equals_keep_their_order_at_any_length(n):
    x = np.random.default_rng(n).integers(-40, 40, n).astype(np.float64)
    order = np.argsort(x, kind="stable")
    down = n - 1 - np.flip(np.argsort(np.flip(x), kind="stable"))
    for values in (x, x.astype(np.int64), x.astype(np.float32)):
        t = tt.tensor(values)
        assert (t.argsort().numpy() == order).all()
        assert (t.sort(descending=True).indices.numpy() == down).all()
        for k in (1, 5, n // 2, n):
            assert (t.topk(k).indices.numpy() == down[:k]).all()
            assert (t.topk(k, largest=False).values.numpy() == values[order[:k]]).all()


def test_threads_change_nothing():
    x = tt.tensor(np.random.default_rng(0).standard_normal(200_000), dtype=tt.float32)
    before = tt.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            tt.set_num_threads(threads)
            functions = (tt.mean, tt.var, tt.norm, tt.prod, tt.argmax, tt.argsort)
            found = [f(x).numpy() for f in functions] + [x.logsumexp(0).numpy()]
            results.append([y.tobytes() for y in found])
    finally:
        tt.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_topk_takes_no_more_than_there_are():
    x = tt.tensor([[1.0, 2.0, 3.0]])
    for k in (4, -1):
        with pytest.raises(IndexError, match=rf"^topk: k must be from 0 to 3, .* got {k}"):
            x.topk(k)
    with pytest.raises(IndexError, match=r"^sort: axis 2 is out of range"):
        x.sort(2)
    with pytest.raises(TypeError):
        x.topk(1.5)


def test_the_gradient_of_topk_goes_where_the_elements_were():
    data = [[1.0, 4.0, 3.0], [7.0, 5.0, 6.0]]
    assert grad_of(lambda x: x.topk(2).values, data) == [[0, 1, 1], [1, 0, 1]]
    assert grad_of(lambda x: x.topk(1, 0, largest=False).values, data) == [[1, 1, 1], [0, 0, 0]]
    assert second_of(lambda x: (x * x).topk(2).values, data) == [[0, 4, 6], [8, 0, 12]]
    x = leaf(data)
    with pytest.raises(RuntimeError, match="argsort"):
        x.argsort().backward(tt.ones(2, 3))
