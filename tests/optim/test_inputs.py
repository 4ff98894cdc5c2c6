"""What an optimiser learns of the inputs of layers."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tinytape as tt
from tinytape import nn, optim

from ..support.watched_net import MATRICES, Net, batch

CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def test_inputs_of_every_path_over_several_batches():
    net = Net()
    inputs = optim.LayerInputs(net)
    named = dict(net.named_parameters())
    assert [name for name, param in named.items() if param in inputs] == MATRICES
    assert len(inputs) == len(MATRICES) and "lstm.weight_hh_l1" in repr(inputs)
    for name in MATRICES:
        inputs.keep_mean(named[name])
        inputs.keep_moment(named[name])
    for seed, rows in ((1, 3), (2, 5)):
        net(batch(seed, rows)[0])
    # The net computes the first layer of its LSTM twice: once to look.
    for name in ("lstm.weight_ih_l0", "lstm.weight_hh_l0"):
        net.seen[name] *= 2
    for name in MATRICES:
        x = net.rows(name)
        assert inputs.tokens(named[name]) == len(x), name
        np.testing.assert_allclose(inputs.mean(named[name]).numpy(), x.mean(0), **CLOSE)
        np.testing.assert_allclose(inputs.moment(named[name]).numpy(), x.T @ x / len(x), **CLOSE)


def test_only_training_with_gradients_counts_and_nothing_is_recorded():
    layer = nn.Linear(3, 2)
    inputs = optim.LayerInputs(layer)
    x = tt.ones(5, 3, requires_grad=True)
    layer(x)
    inputs.keep_moment(layer.weight)  # begins here
    nodes = tt.memory_stats()["tape_nodes"]
    y = layer(x)
    assert inputs.tokens(layer.weight) == 5
    assert tt.memory_stats()["tape_nodes"] == nodes + 1
    del y
    with tt.no_grad():
        layer(x)
    layer.eval()
    layer(x)
    layer.train()
    layer(tt.ones(0, 3))
    assert inputs.tokens(layer.weight) == 5
    layer(tt.ones(3))
    assert inputs.tokens(layer.weight) == 6
    with pytest.raises(ValueError, match="linear"):
        layer(tt.ones(4, 2))
    assert inputs.tokens(layer.weight) == 6
    inputs.reset()
    assert inputs.tokens(layer.weight) == 0


def test_an_observer_stays_no_longer_than_its_last_reference():
    layer = nn.Linear(3, 2)
    inputs = optim.LayerInputs(layer)
    gc.collect()
    before = len(nn.observers.observers)
    optimizer = optim.DGD(layer.parameters(), inputs=inputs)
    sums = optimizer.state[layer.weight]["input_products"]
    del inputs
    layer(tt.ones(1, 3))
    assert len(nn.observers.observers) == before and sums.numpy().sum() == 9
    del optimizer
    gc.collect()
    layer(tt.ones(1, 3))
    assert len(nn.observers.observers) == before - 1 and sums.numpy().sum() == 9


def test_an_optimiser_begins_with_no_inputs():
    layer = nn.Linear(3, 2)
    inputs = optim.LayerInputs(layer)
    optim.DGD(layer.parameters(), inputs=inputs)
    layer(tt.ones(1, 3))
    optim.DeltaRule(layer.parameters(), inputs=inputs)
    assert inputs.tokens(layer.weight) == 0
    assert not inputs._place(layer.weight).sums["input_products"].numpy().any()


def test_a_weight_that_changed_its_type():
    layer = nn.Linear(3, 2)
    inputs = optim.LayerInputs(layer)
    optim.DGD(layer.parameters(), inputs=inputs)
    layer.double()
    x = tt.ones(1, 3, dtype=tt.float64)
    with pytest.raises(TypeError, match=r"LayerInputs: 'weight' has become float64, .* float32"):
        layer(x)
    optimizer = optim.DGD(layer.parameters(), inputs=inputs)
    layer(x).sum().backward()
    optimizer.step()
