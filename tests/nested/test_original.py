"""A program in the manner of the original nested system: what it asks of PyTorch is here too."""

from __future__ import annotations

import pytest

import tinytape as torch
from tinytape import nested, nn, optim

CHUNKS = {"level1_fast": 1, "level2_medium": 2, "level3_slow": 4}


def device_of_choice() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batch(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    data = torch.randn(2, 3, 8, device=device)
    return data, torch.randint(0, 5, (2, 3), device=device)


def surprise(loss: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(
        outputs=loss,
        inputs=activation,
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
        allow_unused=False,
    )[0]
    return torch.clamp(found, min=-10.0, max=10.0)


class Levels(nn.Module):
    """Its model, written out: levels in a dict beside the modules themselves."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.level1_fast = nn.LSTM(input_size=size, hidden_size=size, batch_first=True)
        self.level2_medium = nn.Sequential(nn.Linear(size, 9), nn.GELU(), nn.Linear(9, size))
        self.level3_slow = nn.Sequential(nn.Linear(size, 9), nn.GELU(), nn.Linear(9, size))
        self.levels = {name: getattr(self, name) for name in CHUNKS}
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x, compute_surprise=False):
        device = next(self.parameters()).device
        hidden = tuple(torch.zeros(1, x.size(0), x.size(2), device=device) for _ in range(2))
        fast, _ = self.level1_fast(x, hidden)
        medium = self.level2_medium(fast)
        activations = {"level1_fast": fast, "level2_medium": medium}
        info = {"activations": activations} if compute_surprise else None
        return self.level3_slow(medium), info


@pytest.mark.parametrize("make", [Levels, lambda size: nested.NestedModelWithSurprise(size, 9)])
def test_its_training_loop(make):
    torch.manual_seed(42)
    device = device_of_choice()
    model = make(8).to(device)
    scheduler = nested.ChunkedUpdateScheduler(CHUNKS)
    optimizers = {
        name: optim.Adam(module.parameters(), lr=1e-3 / CHUNKS[name])
        for name, module in model.levels.items()
    }
    criterion = nn.MSELoss()
    model.train()
    before = {name: p.tolist() for name, p in model.named_parameters()}
    for step in range(1, 5):
        data, targets = (x.to(device) for x in batch(device))
        assert targets.device == device and int(targets.max()) < 5
        output, info = model(data, compute_surprise=True)
        loss = criterion(output, data)
        total = torch.tensor(0.0, device=loss.device)
        for name in ("level1_fast", "level2_medium"):
            activation = info["activations"][name]
            total = total + 0.1 * criterion(activation, surprise(loss, activation).detach())
        (loss + total).backward()
        for name, module in model.levels.items():
            if scheduler.should_update(name, step):
                optimizers[name].step()
                scheduler.mark_updated(name, step)
                for p in module.parameters():
                    if p.grad is not None:
                        p.grad.zero_()
    stats = scheduler.get_stats(4)
    assert [stats[name]["update_count"] for name in CHUNKS] == [4, 2, 1]
    assert all(p.tolist() != before[name] for name, p in model.named_parameters())
    model.eval()
    with torch.no_grad():
        output, info = model(batch(device)[0], compute_surprise=False)
    assert output.shape == (2, 3, 8) and info is None


def test_its_names_of_levels():
    model = nested.NestedModel(input_size=8, hidden_size=9)
    names = model.get_level_names()
    assert names == list(model.levels) == list(CHUNKS)
    assert sum(model.count_parameters(name) for name in names) == model.count_parameters()
    model(torch.randn(2, 3, 8)).sum().backward()
    for name in names:
        params = list(model.get_level_params(name))
        assert params and not any(torch.all(p.grad == 0) for p in params)
    names.clear()
    assert model.get_level_names() == list(CHUNKS)
