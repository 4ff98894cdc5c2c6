"""einsum at its edges: the notation, by numpy; what is refused, by name."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal(shape) for shape in ((2, 3), (3, 4), (4, 2)))
SQUARE, CUBE = RNG.standard_normal((3, 3)), RNG.standard_normal((3, 3, 3))
BATCH, WIDE = RNG.standard_normal((5, 2, 3)), RNG.standard_normal((5, 1, 2, 3))
VECTOR, NUMBER = RNG.standard_normal(3), np.array(2.5)


@pytest.mark.parametrize(
    ("equation", "operands"),
    [
        ("ij,jk->ik", (A, B)),
        (" i j , j k -> i k ", (A, B)),
        ("ij,jk", (A, B)),
        ("ba,cb", (A, C)),  # the result in alphabetical order: ac
        ("ij,jk,ki", (A, B, C)),
        ("ij,jk,kl->li", (A, B, C)),
        ("ij->ji", (A,)),
        ("ji", (A,)),
        ("Ab", (A,)),
        ("bA", (A,)),  # capitals come first
        ("ij->", (A,)),
        ("ij->j", (A,)),
        ("ii", (SQUARE,)),
        ("ii->i", (SQUARE,)),
        ("iii->i", (CUBE,)),
        ("iij->ji", (CUBE,)),
        ("iji,j->ij", (CUBE, VECTOR)),
        ("ii,ij->j", (SQUARE, SQUARE)),
        ("i,i", (VECTOR, VECTOR)),
        ("i,j->ij", (VECTOR, VECTOR)),
        ("i,j->ji", (VECTOR, VECTOR)),
        ("i,j->", (VECTOR, VECTOR)),
        (",ij->ij", (NUMBER, A)),
        (",", (NUMBER, NUMBER)),
        ("", (NUMBER,)),
        ("->", (NUMBER,)),
        ("...", (BATCH,)),
        ("...ij->...ji", (BATCH,)),
        ("...ij->ij...", (BATCH,)),
        ("i...->...", (BATCH,)),
        ("...ij,...kj->...ik", (BATCH, BATCH)),
        ("...ij,jk", (BATCH, B)),
        ("...ij,...ij->...", (BATCH, WIDE)),
        ("b...j,j...->...b", (BATCH, B.T[:3, :2].reshape(3, 2))),
        ("...,...", (A, VECTOR)),
        ("i...,...->i...", (A, NUMBER)),
        ("bij,bkj->bik", (BATCH, BATCH)),
        ("bij,ij->b", (BATCH, A)),
        ("bij,bij->bij", (BATCH, BATCH)),
        ("ij,jk->ik", (A[:, :1], B)),  # a size of 1 is stretched
        ("ij,ij->ij", (A[:1], A)),
        ("ij,ij,ij->j", (A[:1], A[:, :1], A)),
        ("ij,ij->", (A[:1, :1], A)),
        ("ij,jk->ik", (np.zeros((2, 0)), np.zeros((0, 3)))),
        ("ij,jk->ik", (np.zeros((0, 3)), B)),
        ("abcdefgh->hgfedcba", (RNG.standard_normal((1, 2, 1, 2, 1, 2, 1, 2)),)),
    ],
)
def test_the_notation_is_numpys(equation, operands):
    leaves = [tt.tensor(x, requires_grad=True) for x in operands]
    expected = np.asarray(np.einsum(equation, *operands))
    out = tt.einsum(equation, *leaves)
    assert out.shape == expected.shape and out.dtype is tt.float64
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12, atol=1e-12)
    # The value is linear in each operand: <gradient, operand> is the value, and likewise above.
    seeds = tt.tensor(RNG.standard_normal(expected.shape))
    value = (expected * seeds.numpy()).sum()
    grads = tt.grad(out, leaves, seeds, create_graph=True)
    for grad, x, leaf in zip(grads, operands, leaves, strict=True):
        assert grad.shape == x.shape
        np.testing.assert_allclose((grad.numpy() * x).sum(), value, rtol=1e-9, atol=1e-12)
        if len(operands) == 2:
            other = operands[0] if leaf is leaves[1] else operands[1]
            second = tt.grad(
                (grad * tt.tensor(x)).sum(), leaves, allow_unused=True, retain_graph=True
            )
            found = second[0] if leaf is leaves[1] else second[1]
            np.testing.assert_allclose((found.numpy() * other).sum(), value, rtol=1e-9, atol=1e-12)


def test_an_ellipsis_that_is_not_in_the_output_is_summed_over():
    out = tt.einsum("...i->i", tt.tensor(BATCH))  # PyTorch's rule: numpy refuses it
    np.testing.assert_allclose(out.numpy(), BATCH.sum((0, 1)))


def test_operands_may_be_a_list():
    np.testing.assert_allclose(tt.einsum("ij,jk", [tt.tensor(A), tt.tensor(B)]).numpy(), A @ B)


@pytest.mark.parametrize("dtype", [tt.uint8, tt.int8, tt.int32, tt.int64, tt.float32], ids=str)
def test_the_result_has_the_type_of_the_operands(dtype):
    a = np.arange(6).reshape(2, 3).astype(dtype.numpy)
    for equation in ("ij,kj->ik", "ij,ij->ij", "ij,kl->i"):
        out = tt.einsum(equation, tt.tensor(a), tt.tensor(a))
        assert out.dtype is dtype
        np.testing.assert_array_equal(out.numpy(), np.einsum(equation, a, a))
    assert tt.einsum("ij->j", tt.tensor(a)).dtype is dtype


X, Y = tt.ones(2, 3), tt.ones(3, 4)
MISUSE = {
    "no equation": (lambda: tt.einsum(X, [0, 1]), TypeError, "einsum: expected the equation"),
    "no operand": (lambda: tt.einsum("ij"), ValueError, "einsum: expected at least one"),
    "an array": (lambda: tt.einsum("ij", A), TypeError, "einsum: expected a Tensor, got ndarray"),
    "too few": (lambda: tt.einsum("ij,jk", X), ValueError, "has 2 operands, got 1"),
    "too many": (lambda: tt.einsum("ij", X, Y), ValueError, "has 1 operands, got 2"),
    "names": (lambda: tt.einsum("i", X), ValueError, r"einsum: 'i' does not name .*\(2, 3\)"),
    "more names": (lambda: tt.einsum("ijk", X), ValueError, "einsum: 'ijk'"),
    "ellipsis": (lambda: tt.einsum("...ijk", X), ValueError, "einsum: '...ijk'"),
    "sizes": (lambda: tt.einsum("ij,jk", X, X), ValueError, "einsum: axes named 'j' .*3 and 2"),
    "ellipses": (lambda: tt.einsum("...,...", X, Y), ValueError, "einsum: axes named the ellipsis"),
    "diagonal": (lambda: tt.einsum("ii", X), ValueError, "einsum: "),
    "diagonal 1": (lambda: tt.einsum("ii", X[:1]), ValueError, "'i' .*1 and 3 of one operand"),
    "output twice": (lambda: tt.einsum("ij->ii", X), ValueError, "'i' appears more than once"),
    "output new": (lambda: tt.einsum("ij->ik", X), ValueError, "'k' of the output is in no"),
    "a digit": (lambda: tt.einsum("i1", X), ValueError, "expected letters .*'i1'"),
    "a letter": (lambda: tt.einsum("iä", X), ValueError, "expected letters"),
    "a dot": (lambda: tt.einsum("i.j", X), ValueError, "expected letters"),
    "two ellipses": (lambda: tt.einsum("...i...", X), ValueError, "expected letters"),
    "two arrows": (lambda: tt.einsum("ij->j->i", X), ValueError, "expected letters"),
    "two dots": (lambda: tt.einsum("ij->..", X), ValueError, "expected letters"),
    "types": (lambda: tt.einsum("ij,jk", X, Y.double()), TypeError, "einsum: .*share one"),
    "bool": (lambda: tt.einsum("ij", X.bool()), TypeError, "einsum: .*bool"),
    "axes": (
        lambda: tt.einsum("abcde,fghij->abcdefghij", *[tt.ones((1,) * 5)] * 2),
        ValueError,
        "einsum: .*10 axes",
    ),
    "mm": (lambda: tt.mm(X, X), ValueError, r"mm: expected \(m, k\) and \(k, n\), .*\(2, 3\)"),
    "mm batch": (lambda: tt.mm(tt.ones(1, 2, 3), Y), ValueError, "mm: "),
    "bmm broadcast": (lambda: tt.bmm(tt.ones(1, 2, 3), tt.ones(4, 3, 2)), ValueError, "bmm: "),
    "bmm 2-d": (lambda: tt.bmm(X, Y), ValueError, "bmm: "),
    "mv": (lambda: tt.mv(X, tt.ones(2)), ValueError, r"mv: .*\(2,\)"),
    "dot": (lambda: tt.dot(tt.ones(2), tt.ones(3)), ValueError, "dot: "),
    "dot 2-d": (lambda: tt.dot(X, X), ValueError, "dot: "),
    "outer": (lambda: tt.outer(X, tt.ones(2)), ValueError, "outer: "),
    "mm types": (lambda: tt.mm(X, Y.double()), TypeError, "mm: .*float32 and .*float64"),
    "mm of bool": (lambda: tt.mm(X.bool(), Y.bool()), TypeError, "matmul: .*bool"),
    "mm of an array": (lambda: tt.mm(X, B), TypeError, "mm: expected a Tensor, got ndarray"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name):
    call, error, message = MISUSE[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("dtype", [tt.uint8, tt.int8, tt.int16, tt.int32, tt.int64], ids=str)
def test_products_of_integer_matrices(dtype):
    a = RNG.integers(-100, 100, (4, 7, 5)).astype(dtype.numpy)
    b = RNG.integers(-100, 100, (4, 6, 5)).astype(dtype.numpy)
    out = tt.tensor(a) @ tt.tensor(b).mT  # wrapping around
    assert out.dtype is dtype
    np.testing.assert_array_equal(out.numpy(), a @ b.swapaxes(1, 2))
    turned = tt.tensor(a).permute(0, 2, 1) @ tt.tensor(b)[0, :1, :1].expand(7, 3)
    np.testing.assert_array_equal(
        turned.numpy(), a.swapaxes(1, 2) @ np.broadcast_to(b[0, :1, :1], (7, 3))
    )
