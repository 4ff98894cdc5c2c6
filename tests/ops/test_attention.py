"""scaled_dot_product_attention beyond its row in the table: sizes of several blocks, what a mask
broadcasts over, float32's own dropout, masked queries, grouped heads."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.functional._apply import run as by_name
from tinytape.nn import functional as F

from ..support.leaves import RNG, leaf
from .scaled_dot_product_attention import attention, keep_factors

B, H, L, S = 2, 3, 70, 67  # neither is a multiple of the kernel's block of 64 queries
MASKS = [(B, H, L, S), (H, 1, S), (B, 1, 1, S), (1, H, L, 1), (L, S), (S,), (1, 1), ()]


def qkv(*lead: int, queries: int = L, keys: int = S, dtype: tt.dtype = tt.float64):
    return [leaf(*lead, n, 4, dtype=dtype) for n in (queries, keys, keys)]


def array_of(x: tt.Tensor) -> np.ndarray:
    return x.numpy().astype(np.float64)


# ---- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout_p", [0.0, 0.3])
@pytest.mark.parametrize("shape", MASKS)
def test_gradients_with_a_float_mask(shape, dropout_p):
    """The kernel, the vjp and the central difference, in every input."""
    inputs = [*qkv(B, H), leaf(*shape)]
    u = RNG.standard_normal((B, H, L, 4))

    def run(*given):
        return F.scaled_dot_product_attention(
            *given, dropout_p=dropout_p, generator=tt.Generator(3)
        )

    raw = tt.grad(run(*inputs), inputs, tt.tensor(u))
    by_vjp = tt.grad(run(*inputs), inputs, tt.tensor(u), create_graph=True)
    for i, x in enumerate(inputs):
        assert raw[i].shape == x.shape
        np.testing.assert_allclose(raw[i].numpy(), by_vjp[i].numpy(), rtol=1e-9, atol=1e-12)
        direction = RNG.standard_normal(x.shape)
        value = []
        for step in (1e-5, -1e-5):
            changed = [y.detach() for y in inputs]
            changed[i] = tt.tensor(x.numpy() + step * direction)
            value.append((run(*changed).numpy() * u).sum())
        slope = (value[0] - value[1]) / 2e-5
        terms = raw[i].numpy() * direction
        assert abs(slope - terms.sum()) <= 1e-6 * (1 + np.abs(terms).sum())


@pytest.mark.parametrize("shape", [(2, 1, 2, L, S), (1, 3, 1, 1, S), (3, 2, L, 1), (2, L, S)])
def test_mask_over_more_leading_axes(shape):
    lead = (2, 3, 2)
    inputs = [*qkv(*lead), leaf(*shape)]
    y = F.scaled_dot_product_attention(*inputs)
    expected = attention(*(x.numpy() for x in inputs), False, None, 1.0)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
    flat = [x.reshape(12, 1, *x.shape[3:]) for x in inputs[:3]]
    mask = inputs[3].expand(*lead, L, S).reshape(12, 1, L, S)
    u = tt.tensor(RNG.standard_normal(y.shape))
    found = tt.grad(y, inputs, u)
    again = F.scaled_dot_product_attention(*flat, mask)
    for a, b in zip(found, tt.grad(again, inputs, u.reshape(again.shape)), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 0, 3, 2), (3, 2, 1, 0)])
def test_mask_of_any_strides(axes):
    """Turned and with gaps: what the kernel reads is where the strides say."""
    shape = [(B, H, L, S)[a] for a in axes]
    kept = leaf(*(2 * n for n in shape))
    mask = kept[tuple(slice(1, None, 2) for _ in axes)].permute(*np.argsort(axes).tolist())
    q, k, v = qkv(B, H)
    y = F.scaled_dot_product_attention(q, k, v, mask)
    expected = attention(*(x.numpy() for x in (q, k, v, mask)), False, None, 1.0)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_query_that_sees_no_key_gives_zeros(kind, dtype):
    inputs = qkv(B, H, dtype=dtype)
    seen = np.ones((L, S), bool)
    blind = [0, 5, 64, L - 1]
    seen[blind] = False
    mask = tt.tensor(seen) if kind == "bool" else tt.tensor(np.where(seen, 0, -np.inf), dtype=dtype)
    if kind == "float":
        inputs.append(mask.requires_grad_())
    y = F.scaled_dot_product_attention(*inputs[:3], mask)
    assert not y.numpy()[:, :, blind].any() and y.numpy()[:, :, 1].all()
    first = tt.grad((y * y).sum(), inputs, create_graph=True)
    again = F.scaled_dot_product_attention(*inputs[:3], mask)
    raw = tt.grad((again * again).sum(), inputs)
    second = tt.grad(sum(((g * g).sum() for g in first), tt.tensor(0.0, dtype=dtype)), inputs)
    for g in (*raw, *first, *second):
        assert np.isfinite(g.numpy()).all()
    for g in (raw[0], first[0], second[0]):
        assert not g.numpy()[:, :, blind].any() and g.numpy()[:, :, 1].any()
    if kind == "float":
        assert not raw[3].numpy()[blind].any() and raw[3].numpy()[1].any()


def test_what_is_not_a_number_stays_so():
    """Only -inf throughout is a masked query."""
    q, k, v = (tt.ones(1, 1, 3, 2) for _ in range(3))
    mask = np.zeros((3, 3), np.float32)
    mask[0] = [-np.inf, np.nan, -np.inf]
    mask[1, 0] = np.inf
    y = F.scaled_dot_product_attention(q, k, v, tt.tensor(mask)).numpy()
    assert np.isnan(y[0, 0, :2]).all() and (y[0, 0, 2] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1, 1, 512), (512, 512), (1, 4, 512, 1)])
def test_a_mask_is_not_made_whole(shape):
    """What is recorded is the output, of each query two numbers, and the nodes."""
    mask = tt.zeros(*shape)
    q, k, v = (tt.ones(2, 4, 512, 2, requires_grad=True) for _ in range(3))
    before = tt.memory_stats()["step_used"]
    y = F.scaled_dot_product_attention(q, k, v, mask)
    assert tt.memory_stats()["step_used"] - before < 2 * 2 * 4 * 512 * 4 * 4 < 512 * 512 * 4
    assert y.requires_grad


@pytest.mark.parametrize("shape", [(S,), (B, H, L, S)])
def test_a_mask_that_changed_in_place(shape):
    mask = tt.zeros(*shape, dtype=tt.float64)
    inputs = qkv(B, H)
    y = F.scaled_dot_product_attention(*inputs, mask)
    mask.copy_(tt.ones(*shape, dtype=tt.float64))
    with pytest.raises(RuntimeError, match=r"attention: input 3 .*changed in place"):
        y.sum().backward()


# ---- dropout -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("keys", [5, 67, 300])
def test_dropout_of_the_weights(keys, is_causal, dtype):
    """As F.dropout would drop them, whether rows are drawn together or one by one."""
    q, k, v = inputs = qkv(B, H, keys=keys, dtype=dtype)
    generator = tt.Generator(2**64 - 5)
    start = 2**63 + 1001  # in the middle of a batch, and negative to the core's integers

    def run():
        generator.offset = start
        return F.scaled_dot_product_attention(
            q, k, v, dropout_p=0.3, is_causal=is_causal, generator=generator
        )

    y = run()
    assert generator.offset == start + B * H * L * keys
    generator.offset = start
    keep = F.dropout(tt.ones(B, H, L, keys, dtype=dtype), 0.3, generator=generator).numpy()
    expected = attention(*(array_of(x) for x in inputs), 0.0, is_causal, None, keep)
    tolerance = 1e-5 if dtype is tt.float32 else 1e-11
    np.testing.assert_allclose(y.numpy(), expected, rtol=tolerance, atol=tolerance)

    # <u, y> is linear in v, and its slope in v is what the kernel says.
    u = tt.tensor(RNG.standard_normal(y.shape), dtype=dtype)
    raw = tt.grad(y, inputs, u)
    by_vjp = tt.grad(run(), inputs, u, create_graph=True)
    for a, b in zip(raw, by_vjp, strict=True):
        scale = np.abs(b.numpy()).max()
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=tolerance * scale)
    products = array_of(u) * array_of(y)  # their sum may cancel
    slope = (array_of(raw[2]) * array_of(v)).sum()
    assert abs(slope - products.sum()) <= tolerance * np.abs(products).sum()


def test_dropout_draws_from_the_default_generator():
    q, k, v = (x.detach() for x in qkv(2, 2))
    tt.manual_seed(11)
    y = F.scaled_dot_product_attention(q, k, v, None, 0.5).numpy()
    expected = attention(
        *(x.numpy() for x in (q, k, v)), 0.0, False, None, keep_factors((2, 2, L, S), 0.5, 11)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    state = tt.random.default_generator.get_state()
    F.scaled_dot_product_attention(q, k, v, None, 0.0)
    assert tt.random.default_generator.get_state() == state
    assert not F.scaled_dot_product_attention(q, k, v, None, 1.0).numpy().any()


@pytest.mark.parametrize("shape", [(H, 1, S), (B, H, L, S)])
def test_causal_and_mask_and_dropout_at_once(shape):
    """The operation takes all three, though PyTorch's function does not."""
    inputs = [*qkv(B, H), leaf(*shape)]
    q, k, v, mask = inputs
    u = tt.tensor(RNG.standard_normal((B, H, L, 4)))

    def run():
        return by_name["scaled_dot_product_attention"](
            inputs, causal=True, seed=9, stream=0, offset=0, scale=0.4, dropout_p=0.25
        )

    keep = keep_factors((B, H, L, S), 0.25, 9)
    expected = attention(*(x.numpy() for x in (q, k, v, mask)), True, 0.4, keep)
    np.testing.assert_allclose(run().numpy(), expected, rtol=1e-10, atol=1e-12)
    nan = tt.full((B, H, L, S), float("nan"), dtype=tt.float64, requires_grad=True) * 1.0
    del nan  # in free memory: what the kernel does not write shows
    raw, by_vjp = tt.grad(run(), inputs, u), tt.grad(run(), inputs, u, create_graph=True)
    for a, b in zip(raw, by_vjp, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)

    # A later use of the mask brings its gradient first, and the kernel adds.
    both = tt.grad([run(), 3.0 * mask], [mask], [u, tt.ones(*shape, dtype=tt.float64)])[0]
    np.testing.assert_allclose(both.numpy(), raw[3].numpy() + 3.0, rtol=1e-9, atol=1e-12)


# ---- grouped queries -----------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(2,), ()])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_grouped_queries(heads, lead):
    q = leaf(*lead, 6, 9, 4)
    k, v = (leaf(*lead, heads, 7, 4) for _ in range(2))
    repeated = [np.repeat(x.numpy(), 6 // heads, axis=-3) for x in (k, v)]
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    expected = attention(q.numpy(), *repeated, 0.0, False, None, 1.0)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)
    u = tt.tensor(RNG.standard_normal(y.shape))
    whole = [tt.tensor(x, requires_grad=True) for x in repeated]
    apart = tt.grad(F.scaled_dot_product_attention(q, *whole), [q, *whole], u)
    together = tt.grad(y, [q, k, v], u)
    np.testing.assert_allclose(together[0].numpy(), apart[0].numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(together[1:], apart[1:], strict=True):
        summed = b.numpy().reshape(*lead, heads, 6 // heads, 7, 4).sum(-3)
        np.testing.assert_allclose(a.numpy(), summed, rtol=1e-10, atol=1e-12)


# ---- broadcasting and types ----------------------------------------------------------------------

LEADS = [
    ((H,), (B, H), (B, H)),
    ((B, H), (1, H), (1, H)),
    ((B, 1), (B, H), (1, H)),
    ((), (B, H), (H,)),
    ((B, 1, 1), (2, 1), (1, H)),
    ((0, H), (1, H), (H,)),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("leads", LEADS)
def test_the_axes_before_the_last_two_are_broadcast(leads, causal):
    lengths = (5, 6, 6)
    inputs = [leaf(*lead, n, 4) for lead, n in zip(leads, lengths, strict=True)]
    full = np.broadcast_shapes(*leads)
    whole = [x.expand(*full, *x.shape[-2:]) for x in inputs]
    y = F.scaled_dot_product_attention(*inputs, is_causal=causal)
    expected = F.scaled_dot_product_attention(*whole, is_causal=causal)
    assert y.shape == (*full, 5, 4) and y.tolist() == expected.tolist()
    u = tt.tensor(RNG.standard_normal(y.shape))
    found, by_hand = tt.grad(y, inputs, u), tt.grad(expected, inputs, u)
    for x, a, b in zip(inputs, found, by_hand, strict=True):
        assert a.shape == x.shape and a.tolist() == b.tolist()


def test_a_mask_is_broadcast_with_a_broadcast_batch():
    q, (k, v) = leaf(H, 5, 4), (leaf(B, H, 6, 4), leaf(B, H, 6, 4))
    for shape in [(5, 6), (B, 1, 5, 6), (H, 1, 6), (1, 1)]:
        mask = leaf(*shape)
        y = F.scaled_dot_product_attention(q, k, v, mask)
        expected = F.scaled_dot_product_attention(q.expand(B, H, 5, 4), k, v, mask)
        assert y.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "leads", [((2,), (3,), (3,)), ((2, 3), (2, 3), (2,)), ((2,), (2, 2), (3,))]
)
def test_a_batch_that_cannot_be_broadcast_is_refused_as_it_was_given(leads):
    inputs = [leaf(*lead, 5, 4) for lead in leads]
    shapes = [str(x.shape) for x in inputs]
    with pytest.raises(ValueError, match="expected") as refused:
        F.scaled_dot_product_attention(*inputs)
    assert all(shape in str(refused.value) for shape in shapes)


def test_a_float32_mask_beside_float64():
    """As in PyTorch: a mask may be float32 whatever the queries are, but not wider than they."""
    q, k, v = qkv(B, H, queries=5, keys=6)
    mask = leaf(5, 6, dtype=tt.float32)
    y = F.scaled_dot_product_attention(q, k, v, mask)
    expected = F.scaled_dot_product_attention(q, k, v, mask.detach().double())
    assert y.dtype is tt.float64 and y.tolist() == expected.tolist()
    (g,) = tt.grad(y.sum(), mask)
    assert g.dtype is tt.float32 and g.shape == (5, 6)
    with pytest.raises(TypeError, match=r"bool or tinytape\.float32, got tinytape\.float64"):
        F.scaled_dot_product_attention(q.float(), k.float(), v.float(), mask.double())
    with pytest.raises(TypeError, match=r"float32 or tinytape\.float64, got tinytape\.int64"):
        F.scaled_dot_product_attention(q, k, v, mask.long())
