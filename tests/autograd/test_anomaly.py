"""Anomaly detection: the first value that is not finite, and whose line it comes from."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.autograd import Function, detect_anomaly, set_detect_anomaly
from tinytape.errors import NonFiniteError

from ..support.leaves import close, leaf

HERE = __file__


def values(*x):
    return tt.tensor(x, dtype=tt.float64, requires_grad=True)


def line_of(error, text):
    """The error names this file, a line of it, the function, and the text of the line."""
    message = str(error.value)
    assert f'File "{HERE}", line ' in message, message
    assert message.endswith(text), message
    number = int(message.split(", line ")[1].split(",")[0])
    with open(HERE) as file:
        assert file.read().split("\n")[number - 1].strip() == text


# ---- forward -------------------------------------------------------------------------------------


def test_forward():
    x = tt.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    with (
        pytest.raises(
            NonFiniteError,
            match=r"^log: forward: output 0 has shape \(2, 3\) and is not finite: "
            r"-inf at index \(1, 1\)\n",
        ) as error,
        tt.detect_anomaly(),
    ):
        x.log()  # the culprit
    line_of(error, "x.log()  # the culprit")
    assert "in test_forward" in str(error.value)
    assert isinstance(error.value, FloatingPointError)
    assert x.log().numpy()[1, 1] == -np.inf  # it is off again


def test_the_first_of_several():
    x = values(1.0, -1.0)
    message = r"sqrt: forward: .*nan at index"
    with pytest.raises(NonFiniteError, match=message) as error, detect_anomaly():
        y = x.sqrt()
        (y.log() / 0.0).sum()
    line_of(error, "y = x.sqrt()")


@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 4, 5)])
def test_the_index(shape):
    a = np.ones(shape)
    at = tuple(n - 1 for n in shape)
    a[at] = 1e200
    text = str(at).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(NonFiniteError, match=rf"mul: .* inf at index {text}\n"), detect_anomaly():
        tt.tensor(a) * tt.tensor(a)


def test_values_that_were_given():
    mask = tt.tensor([0.0, -np.inf])
    message = r"add: .*-inf at index \(1,\) \(so was input 1\)"
    with pytest.raises(NonFiniteError, match=message), detect_anomaly():
        tt.ones(2) + mask


def test_integers_have_no_anomalies():
    with detect_anomaly():
        assert (tt.tensor([1, 2]) * 3).tolist() == [3, 6]
        assert (tt.ones(3) * 2).sum().item() == 6


def test_the_users_line_is_named_for_layers():
    layer = nn.Linear(2, 2)
    with tt.no_grad():
        layer.weight.fill_(np.inf)

    class Model(nn.Module):
        def forward(self, x):
            return layer(x)  # here

    with pytest.raises(NonFiniteError, match="linear: forward") as error, detect_anomaly():
        Model()(tt.ones(1, 2))
    line_of(error, "return layer(x)  # here")


# ---- backward ------------------------------------------------------------------------------------


def test_backward():
    x = values(4.0, 0.0)
    with (
        pytest.raises(
            NonFiniteError,
            match=r"^sqrt: backward: the gradient of input 0 has shape \(2,\) and is not finite: "
            r"inf at index \(1,\)\n",
        ) as error,
        detect_anomaly(),
    ):
        y = x.sqrt()
        z = (y * 2).sum()
        z.backward()
    line_of(error, "y = x.sqrt()")
    assert x.grad is None
    z.backward()  # the failed pass left the graph
    assert x.grad.numpy()[1] == np.inf


def test_backward_of_a_graph_from_before():
    x = values(0.0)
    y = x.sqrt().sum()
    message = r"sqrt: backward(.|\n)*recorded outside"
    with pytest.raises(NonFiniteError, match=message), detect_anomaly():
        y.backward()


def test_an_input_that_is_not_the_first():
    a, b = values(1.0), values(1e-200)
    message = r"div: backward: the gradient of input 1 .*-inf"
    with pytest.raises(NonFiniteError, match=message), detect_anomaly():
        (a / b).backward()


def test_create_graph():
    x = values(4.0, 0.0)
    with (
        pytest.raises(
            NonFiniteError, match=r"^sqrt: backward with create_graph: output 0 of its operation "
        ) as error,
        detect_anomaly(),
    ):
        y = x.sqrt()
        tt.grad(y.sum(), x, create_graph=True)
    line_of(error, "y = x.sqrt()")


@pytest.mark.parametrize("create_graph", [False, True])
def test_double_backward(create_graph):
    """At 1e-250 a root has a slope of 5e124; the second derivative is out of range."""
    x = values(1.0, 1e-250)
    message = r"^\w+: double backward.*index \(1,\)"
    with pytest.raises(NonFiniteError, match=message) as error, detect_anomaly():
        y = x.sqrt()
        (g,) = tt.grad(y.sum(), x, create_graph=True)
        tt.grad(g.sum(), x, create_graph=create_graph)
    line_of(error, "y = x.sqrt()")


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_vjp_recorded_has_the_line_of_the_forward(create_graph):
    """The slope of a logarithm is a division, of which the user wrote nothing."""
    x = values(1.0, 1e-200)
    message = r"^div: double backward.*inf at index \(1,\)"
    with pytest.raises(NonFiniteError, match=message) as error, detect_anomaly():
        y = x.log()
        (g,) = tt.grad(y.sum(), x, create_graph=True)
        z = g.sum()
        tt.grad(z, x, create_graph=create_graph)
    line_of(error, "y = x.log()")


def test_seeds():
    x, nan = values(1.0), tt.tensor([np.nan], dtype=tt.float64)
    message = "backward: the gradient given for output 0 has"
    with pytest.raises(NonFiniteError, match=message), detect_anomaly():
        (x * 2).backward(nan)


# ---- hooks and Functions -------------------------------------------------------------------------


class Bad(Function):
    how = "forward"

    @staticmethod
    def forward(ctx, x):
        return tt.tensor(np.log(x.numpy())) if Bad.how == "forward" else x * 2

    @staticmethod
    def backward(ctx, g):
        if Bad.how == "operation":
            return (g - g).log()
        return tt.tensor(np.full(g.shape, np.nan))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("forward", r"Bad: forward: output 0 has shape \(2,\) .*-inf at index \(1,\)"),
        ("operation", r"Bad: in backward: log: forward: output 0 "),
        ("value", r"Bad: the gradient of input 0 has shape \(2,\) .*nan at index \(0,\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_functions_are_named(how, message, create_graph, monkeypatch):
    monkeypatch.setattr(Bad, "how", how)
    x = values(1.0, 0.0)
    with pytest.raises(NonFiniteError, match=message) as error, detect_anomaly():
        y = Bad.apply(x)
        tt.grad(y.sum(), x, create_graph=create_graph)
    line_of(error, "return (g - g).log()" if how == "operation" else "y = Bad.apply(x)")


def test_hooks_are_named():
    x = values(1.0, 0.0)
    with detect_anomaly():
        y = x * 3
        y.register_hook(lambda g: tt.tensor([1.0, np.inf], dtype=tt.float64))
        with pytest.raises(NonFiniteError, match=r"register_hook: the gradient .*inf") as error:
            y.sum().backward()
        line_of(error, "y = x * 3")
        x.register_hook(lambda g: (g - g).log())
        with pytest.raises(NonFiniteError, match="register_hook: in a hook: log: forward"):
            x.sum().backward()


# ---- the switch ----------------------------------------------------------------------------------


def test_modes():
    enabled, checks = tt.autograd.is_anomaly_enabled, tt.autograd.is_anomaly_check_nan_enabled
    assert not enabled() and not checks()
    with detect_anomaly():
        assert enabled() and checks()
        with detect_anomaly(check_nan=False):
            assert enabled() and not checks()
            tt.zeros(1).log()
        assert checks()
        with set_detect_anomaly(False):
            assert not enabled()
            tt.zeros(1).log()
        assert enabled()
    assert not enabled()
    try:
        set_detect_anomaly(True)
        with pytest.raises(NonFiniteError):
            tt.zeros(1).log()
    finally:
        set_detect_anomaly(False)
    tt.zeros(1).log()
    with pytest.raises(KeyError), detect_anomaly():
        raise KeyError
    assert not enabled()


def test_other_threads_are_left_alone():
    seen = []
    with detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(tt.zeros(1).log().item()))
        thread.start()
        thread.join()
    assert seen == [-np.inf]


def test_other_errors_of_the_backward_pass_name_the_line_too():
    w, x = leaf(3), leaf(3)
    with detect_anomaly(check_nan=False):
        y = w * x
        with tt.no_grad():
            w.zero_()
        with pytest.raises(RuntimeError, match="changed in place") as error:
            y.sum().backward()
    line_of(error, "y = w * x")


def test_the_table_of_lines_is_bounded():
    from tinytape import _caller_lines

    x = leaf(3)
    with detect_anomaly():
        for _ in range(3):
            for _ in range(100):
                (x * x).sum().backward()
            before = len(_caller_lines._lines)
    with detect_anomaly():
        for _ in range(100):
            x * x
        assert len(_caller_lines._lines) <= before + 1


def test_nothing_changes_where_all_is_finite():
    x = leaf(4, 3)
    layer = nn.Linear(3, 2).double() if hasattr(nn.Linear, "double") else None
    del layer
    results = []
    for on in (False, True):
        with set_detect_anomaly(on):
            y = (x * x).exp().sum()
            (g,) = tt.grad(y, x, create_graph=True)
            (h,) = tt.grad(g.sum(), x)
            results.append((y.item(), g.numpy(), h.numpy()))
    for a, b in zip(*results, strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()
    close(x.detach(), x.numpy())


def test_a_failed_operation_leaves_nothing(in_new_context):
    def body():
        x = values(1.0, 0.0)
        y = x * 2
        before = tt.memory_stats()
        with detect_anomaly():
            for f in (lambda: y.log(), lambda: y / 0.0):
                with pytest.raises(NonFiniteError):
                    f()
        gc.collect()
        now = tt.memory_stats()
        for key in ("live_handles", "tape_nodes", "held_tensors", "data_blocks"):
            assert now[key] == before[key], key

    in_new_context(body)


# ---- infinities that are meant -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["causal", "bool", "additive", "bool of heads"])
def test_the_mask_of_an_attention_is_no_anomaly(kind):
    """Neither in forward nor in double backward, where the masked scores are made."""
    allowed = np.tril(np.ones((4, 4), bool))
    how = {
        "causal": {"is_causal": True},
        "bool": {"attn_mask": tt.tensor(allowed)},
        "additive": {"attn_mask": tt.tensor(np.where(allowed, 0.0, -np.inf))},
        "bool of heads": {"attn_mask": tt.tensor(np.stack([allowed, allowed | True]))},
    }[kind]
    q, k, v = (leaf(3, 2, 4, 3) for _ in range(3))
    with detect_anomaly():
        y = nn.functional.scaled_dot_product_attention(q, k, v, **how)
        gradients = tt.grad(y.square().sum(), (q, k, v), create_graph=True)
        again = tt.grad(sum(g.square().sum() for g in gradients), (q, k, v))
    assert all(np.isfinite(g.numpy()).all() for g in (*gradients, *again))
    assert not tt.autograd.is_anomaly_enabled()


def test_a_nan_beside_a_mask_is_an_anomaly():
    # Of one sign: the scores overflow to +inf. To -inf, as what the mask leaves out, gives no NaN.
    q, k, v = (tt.ones(1, 1, 3, 2, dtype=tt.float64, requires_grad=True) for _ in range(3))
    mask = tt.ones(3, 3).tril().bool()
    with detect_anomaly(), pytest.raises(NonFiniteError, match=r"^scaled_dot_product_attention: "):
        nn.functional.scaled_dot_product_attention(q * 1e200, k * 1e200, v, attn_mask=mask)


def test_a_view_of_what_came_from_outside_is_no_anomaly():
    """The operation that computes with it is."""
    mask = tt.tensor([[0.0, -np.inf]])
    with detect_anomaly():
        seen = mask.expand(3, 2)[1:].unsqueeze(0)
        with pytest.raises(NonFiniteError, match=r"^mul: forward: .*so was input 0"):
            seen * 2.0
