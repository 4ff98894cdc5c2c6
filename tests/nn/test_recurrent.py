"""LSTM and LSTMCell against a loop in numpy; states, layers, dropout, names and errors."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

from ..ops.lstm import lstm_reference

RNG = np.random.default_rng(0)
T, N, IN, H = 5, 3, 4, 2


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def double(x: np.ndarray) -> tt.Tensor:
    return tt.tensor(x, dtype=tt.float64)


def layer_weights(layer: nn.LSTM, k: int) -> list[np.ndarray]:
    return [p.numpy() for name, p in layer.named_parameters() if name.endswith(f"_l{k}")]


def stacked(layer: nn.LSTM, x: np.ndarray, h: np.ndarray, c: np.ndarray):
    """All layers by numpy: output, h_n, c_n."""
    last = []
    for k in range(layer.num_layers):
        x, cells = lstm_reference(x, h[k], c[k], *layer_weights(layer, k))
        last.append((x[-1], cells[-1]))
    return x, np.stack([h for h, _ in last]), np.stack([c for _, c in last])


def same(found, expected) -> None:
    output, (h, c) = found
    for a, b in zip((output, h, c), expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-12, atol=1e-14)


# ---- LSTM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_lstm(layers, bias):
    layer = nn.LSTM(IN, H, layers, bias=bias, dtype=tt.float64)
    x, h, c = array(T, N, IN), array(layers, N, H), array(layers, N, H)
    same(layer(double(x), (double(h), double(c))), stacked(layer, x, h, c))
    zeros = np.zeros((layers, N, H))
    same(layer(double(x)), stacked(layer, x, zeros, zeros))


def test_lstm_batch_first():
    layer = nn.LSTM(IN, H, 2, batch_first=True, dtype=tt.float64)
    x, h, c = array(N, T, IN), array(2, N, H), array(2, N, H)
    output, h_n, c_n = stacked(layer, x.transpose(1, 0, 2), h, c)
    same(layer(double(x), (double(h), double(c))), (output.transpose(1, 0, 2), h_n, c_n))


@pytest.mark.parametrize("batch_first", [False, True])
def test_lstm_of_a_single_sequence(batch_first):
    layer = nn.LSTM(IN, H, 2, batch_first=batch_first, dtype=tt.float64)
    x, h, c = array(T, IN), array(2, H), array(2, H)
    output, h_n, c_n = stacked(layer, x[:, None], h[:, None], c[:, None])
    expected = (output[:, 0], h_n[:, 0], c_n[:, 0])
    same(layer(double(x), (double(h), double(c))), expected)
    zeros = np.zeros((2, 1, H))
    assert np.allclose(
        layer(double(x))[0].numpy(), stacked(layer, x[:, None], zeros, zeros)[0][:, 0]
    )


def test_a_state_that_is_carried_on_continues_the_sequence():
    layer = nn.LSTM(IN, H, 2, dtype=tt.float64)
    x = double(array(T, N, IN))
    whole, (h_n, c_n) = layer(x)
    first, state = layer(x[:2])
    second, (h, c) = layer(x[2:], state)
    np.testing.assert_allclose(first.numpy(), whole[:2].numpy(), rtol=1e-12)
    np.testing.assert_allclose(second.numpy(), whole[2:].numpy(), rtol=1e-12)
    np.testing.assert_allclose(h.numpy(), h_n.numpy(), rtol=1e-12)
    np.testing.assert_allclose(c.numpy(), c_n.numpy(), rtol=1e-12)
    # The gradient finds its way back through the state, too.
    (whole,) = tt.grad(whole.sum() + c_n.sum(), [layer.weight_hh_l0])
    (parts,) = tt.grad(first.sum() + second.sum() + c.sum(), [layer.weight_hh_l0])
    np.testing.assert_allclose(parts.numpy(), whole.numpy(), rtol=1e-10)


def test_detached_states_end_the_graph():
    layer = nn.LSTM(IN, H)
    state = None
    for _ in range(3):
        output, (h, c) = layer(tt.tensor(array(T, N, IN), dtype=tt.float32), state)
        output.sum().backward()
        state = (h.detach(), c.detach())
    assert all(p.grad is not None for p in layer.parameters())


def test_dropout_between_layers_in_training_only():
    def make(p: float) -> nn.LSTM:
        made = nn.LSTM(IN, H, 2, dropout=p, dtype=tt.float64, generator=tt.Generator(0))
        return made

    x, zeros = array(T, N, IN), np.zeros((2, N, H))
    layer = make(1.0)
    below, above = (layer_weights(layer, k) for k in range(2))
    output, (h, _) = layer(double(x))
    nothing, _ = lstm_reference(np.zeros((T, N, H)), zeros[0], zeros[0], *above)
    np.testing.assert_allclose(output.numpy(), nothing, rtol=1e-12)  # and none on the output
    seen, _ = lstm_reference(x, zeros[0], zeros[0], *below)
    np.testing.assert_allclose(h[0].numpy(), seen[-1], rtol=1e-12)  # nor on the states
    layer.eval()
    same(layer(double(x)), stacked(layer, x, zeros, zeros))
    half = make(0.5)
    a, b = (half(double(x))[0].numpy() for _ in range(2))
    assert not np.array_equal(a, b)
    with pytest.warns(UserWarning, match="one layer only"):
        nn.LSTM(IN, H, dropout=0.5)


def test_names_and_initial_values():
    layer = nn.LSTM(40, 25, 2, generator=tt.Generator(3))
    shapes = {name: x.shape for name, x in layer.state_dict().items()}
    assert list(shapes.items()) == [
        ("weight_ih_l0", (100, 40)),
        ("weight_hh_l0", (100, 25)),
        ("bias_ih_l0", (100,)),
        ("bias_hh_l0", (100,)),
        ("weight_ih_l1", (100, 25)),
        ("weight_hh_l1", (100, 25)),
        ("bias_ih_l1", (100,)),
        ("bias_hh_l1", (100,)),
    ]
    for name, x in layer.state_dict().items():
        largest = np.abs(x.numpy()).max()
        assert 0.18 < largest <= 0.2, name
        assert x.numpy().min() < -0.17 and x.numpy().max() > 0.17, name
    again = nn.LSTM(40, 25, 2, generator=tt.Generator(3))
    assert np.array_equal(again.weight_hh_l1.numpy(), layer.weight_hh_l1.numpy())
    assert list(nn.LSTM(4, 3, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]
    cell = nn.LSTMCell(40, 25)
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert 0.18 < np.abs(cell.weight_hh.numpy()).max() <= 0.2
    assert list(nn.LSTMCell(4, 3, bias=False).state_dict()) == ["weight_ih", "weight_hh"]
    assert repr(nn.LSTM(4, 3, 2, batch_first=True)) == "LSTM(4, 3, num_layers=2, batch_first=True)"
    assert repr(nn.LSTMCell(4, 3, bias=False)) == "LSTMCell(4, 3, bias=False)"


def lstm_run(steps, n, hidden, batch_first, dtype):
    """Output, states and all gradients, of numbers that are always the same."""
    rng = np.random.default_rng([steps, n, hidden])
    lead = (n, steps) if batch_first else (steps, n)
    shapes = [(*lead, 5), (n, hidden), (n, hidden), (4 * hidden, 5), (4 * hidden, hidden)]
    scale = 1 / math.sqrt(hidden)
    arrays = [rng.standard_normal(s) * scale for s in (*shapes, (4 * hidden,))]
    leaves = [tt.tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
    output, (h, c) = F.lstm(leaves[0], leaves[1:3], *leaves[3:], batch_first=batch_first)
    grads = tt.grad((output * output).sum() + (h * c).sum(), leaves)
    return arrays, [x.detach().numpy() for x in (output, h, c)], [g.numpy() for g in grads]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("steps", "n", "hidden"),
    [
        (9, 1, 1),
        (1, 1, 70),
        (2, 3, 40),
        (6, 1, 300),  # more than the depth of one product, and units shared by threads
        (5, 2, 288),
        (5, 3, 256),
        (4, 17, 70),
        (3, 33, 96),
        (3, 130, 16),  # several groups of rows for each thread
    ],
)
def test_lstm_is_the_same_at_any_number_of_threads(threads, steps, n, hidden, batch_first):
    threads(1)
    arrays, (output, h, c), grads = lstm_run(steps, n, hidden, batch_first, tt.float32)
    x, *rest = arrays
    expected = lstm_reference(x.swapaxes(0, 1) if batch_first else x, *rest)
    all_h = output.swapaxes(0, 1) if batch_first else output
    for found, wanted in ((all_h, expected[0]), (h, expected[0][-1]), (c, expected[1][-1])):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    _, _, exact = lstm_run(steps, n, hidden, batch_first, tt.float64)
    for found, wanted in zip(grads, exact, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    for number in (2, 3, 8):
        threads(number)
        _, *again = lstm_run(steps, n, hidden, batch_first, tt.float32)
        for a, b in zip((output, h, c, *grads), (*again[0], *again[1]), strict=True):
            assert np.array_equal(a, b)


# ---- LSTMCell ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(N,), ()])
@pytest.mark.parametrize("bias", [True, False])
def test_lstm_cell_steps_like_the_layer(lead, bias):
    layer = nn.LSTM(IN, H, bias=bias, dtype=tt.float64)
    cell = nn.LSTMCell(IN, H, bias=bias, dtype=tt.float64)
    cell.load_state_dict({name[: -len("_l0")]: p for name, p in layer.state_dict().items()})
    x = double(array(T, *lead, IN))
    output, (h_n, c_n) = layer(x)
    state = None
    for t in range(T):
        state = cell(x[t], state)
        np.testing.assert_allclose(state[0].numpy(), output[t].numpy(), rtol=1e-12)
    same((output, state), (output.numpy(), h_n[0].numpy(), c_n[0].numpy()))


# ---- sizes of nothing, errors --------------------------------------------------------------------


def test_no_steps_leave_the_state_as_it_is():
    layer = nn.LSTM(IN, H, 2)
    h, c = (tt.tensor(array(2, N, H), dtype=tt.float32) for _ in range(2))
    output, (h_n, c_n) = layer(tt.zeros(0, N, IN), (h, c))
    assert output.shape == (0, N, H)
    assert np.array_equal(h_n.numpy(), h.numpy()) and np.array_equal(c_n.numpy(), c.numpy())
    assert layer(tt.zeros(T, 0, IN))[0].shape == (T, 0, H)


def test_layer_errors():
    layer, cell = nn.LSTM(IN, H, 2), nn.LSTMCell(IN, H)
    x, state = tt.zeros(T, N, IN), tt.zeros(2, N, H)
    for bad in (tt.zeros(T, N, IN + 1), tt.zeros(IN), tt.zeros(1, T, N, IN)):
        with pytest.raises(ValueError, match=r"^LSTM: expected an input"):
            layer(bad)
    with pytest.raises(ValueError, match=r"LSTM: expected c of shape \(2, 3, 2\), got \(1, 3, 2\)"):
        layer(x, (state, state[:1]))
    with pytest.raises(ValueError, match=r"LSTM: expected h of shape \(2, 2\), got \(2, 3, 2\)"):
        layer(x[:, 0], (state, state))
    with pytest.raises(ValueError, match="LSTM: expected hx to be"):
        layer(x, state)
    with pytest.raises(TypeError, match="LSTM: expected h to be a Tensor, got ndarray"):
        layer(x, (state.numpy(), state))
    with pytest.raises(TypeError, match="LSTM: expected a Tensor, got ndarray"):
        layer(x.numpy())
    with pytest.raises(ValueError, match="LSTMCell: expected an input of 1 or 2 dimensions"):
        cell(x)
    with pytest.raises(ValueError, match=r"LSTMCell: expected h of shape \(3, 2\)"):
        cell(x[0], (state[0, 0], state[0, 0]))
    for option in ({"num_layers": 0}, {"dropout": 1.5}, {"bidirectional": True}, {"proj_size": 1}):
        with pytest.raises(ValueError, match=f"LSTM: .*{next(iter(option))}"):
            nn.LSTM(IN, H, **option)


def test_function_errors():
    x, h, w_ih, w_hh, b = (
        tt.zeros(*s) for s in ((T, N, IN), (N, H), (4 * H, IN), (4 * H, H), (4 * H,))
    )
    good = {"input": x, "hx": (h, h), "w_ih": w_ih, "w_hh": w_hh, "b_ih": b, "b_hh": b}
    wrong = {
        "input": tt.zeros(N, IN),
        "hx": (h, h[:2]),
        "w_ih": tt.zeros(4 * H, IN + 1),
        "w_hh": tt.zeros(H, 4 * H),
        "b_ih": tt.zeros(H),
        "b_hh": tt.zeros(4 * H, 1),
    }
    F.lstm(**good)
    F.lstm_cell(**(good | {"input": x[0]}))
    shapes = f"got {(N, IN)}, {(N, H)}, {(N, H)}, {(4 * H, IN)} and {(4 * H, H)}"
    with pytest.raises(ValueError, match=re.escape(shapes)):
        F.lstm(**(good | {"input": wrong["input"]}))
    for name, bad in wrong.items():
        with pytest.raises(ValueError, match=r"^lstm: expected"):
            F.lstm(**(good | {name: bad}))
        if name != "input":
            with pytest.raises(ValueError, match=r"^lstm_cell: expected"):
                F.lstm_cell(**(good | {"input": x[0], name: bad}))
    for bad in (tt.zeros(N), tt.zeros(IN), x, tt.zeros(())):
        with pytest.raises(ValueError, match=r"^lstm_cell: expected"):
            F.lstm_cell(**(good | {"input": bad}))
    for f, steps in ((F.lstm, x), (F.lstm_cell, x[0])):
        with pytest.raises(TypeError, match="float64"):
            f(**(good | {"input": steps, "w_hh": tt.zeros(4 * H, H, dtype=tt.float64)}))
        with pytest.raises(TypeError, match="expected a Tensor"):
            f(**(good | {"input": steps.numpy()}))
        with pytest.raises(TypeError, match="expected a Tensor"):
            f(**(good | {"input": steps, "hx": (h, None)}))
        with pytest.raises(TypeError, match="expected a Tensor"):
            f(**(good | {"input": steps, "b_hh": b.numpy()}))
        with pytest.raises(ValueError, match="expected hx to be"):
            f(**(good | {"input": steps, "hx": h}))


def test_causal_conv1d_errors():
    x, w, b = tt.zeros(2, 3, 5), tt.zeros(3, 4), tt.zeros(3)
    for bad in ((x[0], w, b), (x, tt.zeros(2, 4), b), (x, w, tt.zeros(4)), (x, b, b)):
        with pytest.raises(ValueError, match=r"^causal_conv1d: expected x \(B, C, T\)"):
            F.causal_conv1d(*bad)
    with pytest.raises(TypeError, match="expected a Tensor"):
        F.causal_conv1d(x, w.numpy())


# ---- orders of differentiation -------------------------------------------------------------------


def test_the_third_derivative_is_the_difference_of_the_second():
    shapes = ((4, 2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (8,))
    arrays, weights, direction = ([0.7 * array(*s) for s in shapes] for _ in range(3))

    def along(grads) -> tt.Tensor:
        total = double(np.zeros(()))
        for g, w in zip(grads, weights, strict=True):
            total = total + (g * double(w)).sum()
        return total

    def second(given):
        leaves = [tt.tensor(a, requires_grad=True) for a in given]
        output, (_, c) = F.lstm(leaves[0], leaves[1:3], *leaves[3:])
        value = (output * output).sum() + (c * c * c).sum()
        for _ in range(2):
            value = along(tt.grad(value, leaves, create_graph=True))
        return leaves, value

    leaves, value = second(arrays)
    third = [g.numpy() for g in tt.grad(value, leaves)]
    above, below = (
        second([a + sign * 1e-5 * d for a, d in zip(arrays, direction, strict=True)])[1].item()
        for sign in (1, -1)
    )
    expected = sum((g * d).sum() for g, d in zip(third, direction, strict=True))
    assert abs((above - below) / 2e-5 - expected) < 1e-6 * (1 + abs(expected))


# ---- training ------------------------------------------------------------------------------------


def test_an_lstm_learns_to_remember():
    """The first bit of a sequence, asked for at its end."""
    generator = tt.Generator(0)
    layer = nn.LSTM(1, 8, generator=generator)
    head = nn.Linear(8, 1, generator=generator)
    optimizer = tt.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(150):
        bits = rng.choice([-1.0, 1.0], (8, 32, 1))
        output, _ = layer(tt.tensor(bits, dtype=tt.float32))
        error = head(output[-1]) - tt.tensor(bits[0], dtype=tt.float32)
        loss = (error * error).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-10:]) < 0.05 * losses[0]


def test_training_stays_in_flat_memory(in_new_context):
    def train():
        layer = nn.LSTM(8, 16, 2)
        seen = []
        for _ in range(6):
            output, _ = layer(tt.ones(10, 4, 8))
            output.sum().backward()
            layer.zero_grad()
            seen.append(tt.memory_stats())
        return seen

    seen = in_new_context(train)
    assert seen[3] == seen[5]
