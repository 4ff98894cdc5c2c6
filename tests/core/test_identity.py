"""Which results are another tensor than their input, and what becomes of leaves that change."""

from __future__ import annotations

import pytest

import tinytape as tt
from tinytape import nn
from tinytape.nn import functional as F

from ..support.leaves import close, leaf

# Not formatted by ruff: with one element a line the table is hard to compare by eye.
VIEWS = {
    "squeeze": lambda x: x.squeeze(), "squeeze(0)": lambda x: x.squeeze(0),
    "reshape": lambda x: x.reshape(x.shape), "view": lambda x: x.view(x.shape),
    "view_as": lambda x: x.view_as(x), "expand": lambda x: x.expand(x.shape),
    "permute": lambda x: x.permute(list(range(x.ndim))), "transpose": lambda x: x.transpose(0, 0),
    "movedim": lambda x: tt.movedim(x, 0, 0), "narrow": lambda x: x.narrow(0, 0, x.shape[0]),
    "[:]": lambda x: x[:], "[...]": lambda x: x[...], "split": lambda x: x.split(9)[0],
    "chunk": lambda x: x.chunk(1)[0], "repeat": lambda x: x.repeat([1] * x.ndim),
    "cat": lambda x: tt.cat([x]), "roll": lambda x: tt.roll(x, 0), "flip": lambda x: tt.flip(x, []),
    "clone": lambda x: x.clone(), "detach": lambda x: x.detach().requires_grad_(),
    "einsum": lambda x: tt.einsum("ij->ij" if x.ndim == 2 else "i->i", x), "t": lambda x: x.t(),
    "T": lambda x: x.T, "unflatten": lambda x: x.unflatten(0, (x.shape[0],)),
}  # fmt: skip
SELF = {
    "contiguous": lambda x: x.contiguous(),
    "to": lambda x: x.to(x.dtype),
    "double": lambda x: x.double(),
    "type_as": lambda x: x.type_as(x),
    "+": lambda x: +x,
    "requires_grad_": lambda x: x.requires_grad_(),
    "as_tensor": lambda x: tt.as_tensor(x),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_hook_on_the_result_leaves_the_leaf_alone(name, shape):
    x = leaf(*shape)
    y = VIEWS[name](x)
    assert y is not x and y.requires_grad
    y.register_hook(lambda g: g * 100)
    x.sum().backward()
    close(x.grad, tt.ones(shape).tolist())
    with tt.no_grad():
        assert VIEWS[name](x) is not x


@pytest.mark.parametrize("name", SELF)
def test_what_returns_its_input_as_pytorch_does(name):
    x = leaf(2, 3)
    assert SELF[name](x) is x


def test_a_scalar_squeezed_or_turned_is_another_tensor():
    x = leaf()
    for y in (x.squeeze(), x.t(), x.T):
        assert y is not x and y.shape == ()
    x.squeeze().backward()
    close(x.grad, 1.0)


# ---- leaves that change between forward and backward ---------------------------------------------


@pytest.mark.parametrize("how", ["double", "both"])
def test_a_gradient_of_the_old_type_is_never_lost_silently(how):
    model = nn.Linear(2, 3)
    loss = model(tt.ones(1, 2)).sum()
    model.double()
    if how == "both":
        model.float()
    with pytest.raises(RuntimeError, match=r"float32 parameter of shape \(3,?( 2)?.*before the f"):
        loss.backward()
    assert all(p.grad is None for p in model.parameters())
    kind = next(iter(model.parameters())).dtype
    model(tt.ones(1, 2, dtype=kind)).sum().backward()
    assert all(p.grad.dtype is kind for p in model.parameters())


def test_the_gradient_of_something_else_passes_a_converted_parameter():
    model = nn.Linear(2, 3)
    with tt.no_grad():  # sums that are exact in any order
        model.weight.copy_(tt.tensor([[0.5, -1.0], [2.0, 0.25], [-3.0, 4.0]]))
    x = tt.ones(1, 2, requires_grad=True)
    loss = model(x).sum()
    model.double()
    (g,) = tt.grad(loss, x)
    close(g, model.weight.detach().float().sum(0, keepdim=True).tolist())


def test_hooks_of_a_parameter_outlive_its_conversion():
    model = nn.Linear(2, 1, bias=False)
    handle = model.weight.register_hook(lambda g: g * 3)
    model.weight.register_hook(lambda g: g + 1)
    model.double()
    model(tt.ones(1, 2, dtype=tt.float64)).sum().backward()
    close(model.weight.grad, [[4.0, 4.0]])
    handle.remove()
    model.zero_grad()
    model(tt.ones(1, 2, dtype=tt.float64)).sum().backward()
    close(model.weight.grad, [[2.0, 2.0]])


def test_loading_between_forward_and_backward_is_noticed():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    loss = model(tt.ones(1, 2)).sum()
    model.load_state_dict({k: v.numpy() * 2 for k, v in model.state_dict().items()})
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    assert all(p.grad is None for p in model.parameters())


def test_a_parameter_frozen_after_the_forward_gets_no_gradient():
    model = nn.Linear(2, 1)
    loss = model(tt.ones(1, 2)).sum()
    model.weight.requires_grad_(False)
    loss.backward()
    assert model.weight.grad is None
    close(model.bias.grad, [1.0])
