"""What looking into a model leaves as it was, also where the model is a plain module around layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rondeau import layers
from rondeau.cells.base import state_tensors
from rondeau.errors import ArgumentError, CheckpointError, DataError, NumericsError
from rondeau.insight import dynamics_of, find_learning_rate, hidden_states, read_samples, saliency, trace_nonfinite
from rondeau.insight.files import SampleFile
from rondeau.insight.records import Sample


class Carries(nn.Module):
    """A stateful layer, and a buffer that counts calls and stands in no state dict."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = layers.LSTM(4, return_sequences=True, stateful=True), nn.Linear(4, 1)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return self.head(self.core(x))


def _find(model: Carries, x: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        model.core.reset_states()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    find_learning_rate(model, optimizer=optimizer, closure=closure, steps=20)


LOOKS: dict[str, Callable[[Any, Tensor], Any]] = {
    "dynamics_of": dynamics_of,
    "trace_nonfinite": lambda model, x: trace_nonfinite(model, x, x, lambda a, b: a.square().mean()),
    "find_learning_rate": _find,
    "saliency": lambda model, x: saliency(model, x[:1]),
    "hidden_states": lambda model, x: hidden_states(model, x[:1]),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_plain_module_carries_and_counts_what_it_did(name: str) -> None:
    model, x = Carries(), torch.randn(2, 5, 3)
    model(x)
    states = [leaf.clone() for leaf in state_tensors(model.core.state)]
    LOOKS[name](model, x)
    assert all(torch.equal(a, b) for a, b in zip(states, state_tensors(model.core.state), strict=True))
    assert model.calls == 1


def test_an_optimiser_that_needs_a_closure_is_refused() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(ArgumentError, match="LBFGS"):
        find_learning_rate(model, optimizer=torch.optim.LBFGS(model.parameters()), closure=lambda: None)


def test_states_that_are_not_finite_are_named() -> None:
    x = torch.full((1, 4, 3), float("nan"))
    with pytest.raises(NumericsError, match=r"core.*trace_nonfinite"):
        hidden_states(Carries(), x)


def test_who_was_asked_says_what_is_wrong() -> None:
    with pytest.raises(DataError, match="hidden_states: x"):
        hidden_states(nn.GRU(3, 4), torch.zeros(3))


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "größe"
    file.write_text("")
    with pytest.raises(ArgumentError, match=r"cannot be written.*größe"):
        SampleFile(file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_samples(file)
    folder = tmp_path / "日本"
    samples = SampleFile(folder)
    sample = Sample(0, None, None, None, 0, (0, 0, 0), None, None, None, [], [])
    samples.append(sample)
    assert read_samples(folder) == [sample]
    samples.path.unlink()
    folder.rmdir()
    with pytest.raises(DataError, match=r"cannot be written.*日本"):
        samples.append(sample)
