"""Our AdamW takes torch's steps, and goes on from its state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gnomon.training.adamw import AdamW


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))


def loss_of(of: nn.Module, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    rows = torch.randn(16, 6, generator=generator)
    return (of(rows) - rows.sum(1, keepdim=True)).square().mean()


# Importing torch's compiler, as its own optimizer does, meets deprecated code of its own.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_hundred_steps_equal_torch() -> None:
    ours, theirs = network(), network()
    rates = [1e-2 / (1 + step / 50) for step in range(200)]
    mine = AdamW(ours.parameters(), weight_decay=0.02)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1.0, weight_decay=0.02, foreach=False)
    for step, rate in enumerate(rates):
        loss_of(ours, step).backward()
        mine.step(rate)
        reference.zero_grad()
        loss_of(theirs, step).backward()
        reference.param_groups[0]["lr"] = rate
        reference.step()
    for left, right in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_takes_the_very_same_steps() -> None:
    of = network()
    whole = AdamW(of.parameters(), weight_decay=0.01)
    for step in range(5):
        loss_of(of, step).backward()
        whole.step(1e-2)
    twin = copy.deepcopy(of)
    resumed = AdamW(twin.parameters(), weight_decay=0.01)
    resumed.restore({name: value.clone() for name, value in whole.state().items()})
    for step in range(5, 10):
        for model, optimizer in ((of, whole), (twin, resumed)):
            loss_of(model, step).backward()
            optimizer.step(1e-2)
    for left, right in zip(of.parameters(), twin.parameters(), strict=True):
        assert torch.equal(left, right)
