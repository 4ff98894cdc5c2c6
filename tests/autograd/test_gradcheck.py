"""gradcheck and gradgradcheck: right gradients pass, wrong ones are named."""

from __future__ import annotations

import numpy as np
import pytest

import tinytape as tt
from tinytape.autograd import Function, GradcheckError, gradcheck, gradgradcheck
from tinytape.nn import functional as F

from ..support.leaves import leaf


def wrong_by(factor, entry=None):
    """x^2 with a gradient that is off: everywhere, or in one entry of the input."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            scale = np.full(x.shape, factor if entry is None else 1.0)
            if entry is not None:
                scale[entry] = factor
            return 2 * x * g * tt.tensor(scale)

    return Square.apply


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize(
    ("f", "shapes"),
    [
        (lambda x: x * x, [(2, 3)]),
        (lambda x, y: x @ y, [(2, 3), (3, 4)]),
        (lambda x, y: (x * y, (x + y).exp().sum()), [(3,), (1,)]),
        (lambda x: F.softmax(x, 0), [(4,)]),
        (lambda x, w, b: F.layer_norm(x, (3,), w, b), [(2, 3), (3,), (3,)]),
        (lambda x: x.sum(), [()]),
        (lambda x: x.transpose(0, 1)[1:], [(2, 3)]),
    ],
)
def test_right_gradients_pass(f, shapes, fast_mode):
    inputs = [leaf(*shape) for shape in shapes]
    assert gradcheck(f, inputs, fast_mode=fast_mode)
    assert gradgradcheck(f, inputs, fast_mode=fast_mode)
    assert all(x.grad is None for x in inputs)


def test_inputs_of_all_kinds():
    x, constant = leaf(3), tt.tensor([1.0, 2.0, 3.0], dtype=tt.float64)
    assert gradcheck(lambda x, c, n, index: (x * c) * n, (x, constant, 2.0, tt.tensor([0])))
    assert gradcheck(lambda x: x * 2, x)
    assert gradcheck(lambda x: (x, x.detach().long()), x)
    assert gradcheck(lambda x: x * x, x * 2)  # of a result, too
    assert gradcheck(lambda x: x * x, leaf(0))
    assert gradgradcheck(lambda x: x * x, leaf(2, 3), gen_non_contig_grad_outputs=True)
    assert gradgradcheck(lambda x: x * x, x, tt.ones(3, dtype=tt.float64))


def test_a_wrong_entry_is_named():
    x = tt.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=tt.float64, requires_grad=True)
    f = wrong_by(3.0, (1, 2))
    message = (
        r"gradcheck: the gradient of output 1 by input 1 is wrong in 1 of 36 entries; the first, "
        r"d output\[1, 2\] / d input\[1, 2\], is 36.0 analytically and 12.0000\d* numerically"
    )
    with pytest.raises(GradcheckError, match=message):
        gradcheck(lambda n, x: (x * n, f(x)), (2.0, x))
    with pytest.raises(RuntimeError):
        gradcheck(f, x)
    assert gradcheck(f, x, raise_exception=False) is False


@pytest.mark.parametrize("fast_mode", [False, True])
def test_small_errors_are_found(fast_mode):
    x = leaf(5)
    assert gradcheck(wrong_by(1.0), x, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match=r"gradcheck: .* output 0 by input 0 .*analytically"):
        gradcheck(wrong_by(1.01), x, fast_mode=fast_mode)
    assert gradcheck(wrong_by(1.01), x, rtol=0.05, fast_mode=fast_mode)
    assert gradcheck(wrong_by(1.01), x, atol=1.0, fast_mode=fast_mode)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_wrong_second_order_is_found(fast_mode):
    class Cube(Function):
        """Right once: forward squares what backward takes for a constant."""

        @staticmethod
        def forward(ctx, x):
            y = x * x
            ctx.save_for_backward(x, y)
            return y * x

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[1] * g

    x = leaf(3)
    assert gradcheck(Cube.apply, x, fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="gradgradcheck: the gradient of output 0 by input 0"):
        gradgradcheck(Cube.apply, x, fast_mode=fast_mode)


def test_an_output_that_hides_its_gradient():
    with pytest.raises(GradcheckError, match=r"is 0\.0 analytically and (2\.0|1\.9999)"):
        gradcheck(lambda x: x.detach() * 2, leaf(3))


def test_gradients_that_are_not_a_number():
    class Nan(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            return g * float("nan")

    with pytest.raises(GradcheckError, match="is nan analytically"):
        gradcheck(Nan.apply, leaf(2))
    with pytest.raises(GradcheckError, match="nan analytically"):
        gradcheck(Nan.apply, leaf(2), fast_mode=True)


def test_gradients_that_differ_from_pass_to_pass():
    calls = []

    class Drifts(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            calls.append(1)
            return g * (1 + 1e-7 * len(calls))

    with pytest.raises(GradcheckError, match="two passes"):
        gradcheck(Drifts.apply, leaf(2))
    assert gradcheck(Drifts.apply, leaf(2), nondet_tol=1e-4)


def test_misuse():
    x = leaf(2)
    with pytest.raises(ValueError, match="gradcheck: expected at least one input"):
        gradcheck(lambda x: x, tt.ones(2))
    with pytest.raises(TypeError, match="gradcheck: the function must return Tensors, got int"):
        gradcheck(lambda x: 3, x)
    with pytest.raises(ValueError, match="gradgradcheck: no output depends"):
        gradgradcheck(lambda x: x.detach(), x)
    with pytest.warns(UserWarning, match="float32"):
        gradcheck(lambda x: x * 2, leaf(2, dtype=tt.float32), eps=1e-2, atol=1e-2)
    for option in ("check_batched_grad", "check_forward_ad", "check_batched_forward_grad"):
        with pytest.raises(ValueError, match=f"gradcheck: {option}=True is not supported"):
            gradcheck(lambda x: x, x, **{option: True})
    with pytest.raises(ValueError, match="check_backward_ad=False"):
        gradcheck(lambda x: x, x, check_backward_ad=False)
    with pytest.raises(ValueError, match="check_fwd_over_rev=True"):
        gradgradcheck(lambda x: x, x, check_fwd_over_rev=True)
    assert gradcheck(lambda x: x * 1.0, x, masked=False, check_undefined_grad=False)
