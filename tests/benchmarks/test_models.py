"""Models before and after `rondeau.accelerate`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks import models
from benchmarks.cases import INFERENCE, TRAINING
from benchmarks.models import MODELS, Comparison, compare
from benchmarks.report import RED, models_table


class Small(torch.nn.Module):
    """As the measured ones, and small."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.GRU(3, 4, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]  # type: ignore[no-any-return]

    @classmethod
    def batch(cls) -> Any:
        return (torch.randn(40, 2, 3),), torch.zeros(())

    @staticmethod
    def loss(output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (output - wanted).square().mean()


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "small", Small)


@pytest.mark.parametrize("mode", [TRAINING, INFERENCE])
def test_both_are_timed_in_turn(mode: str) -> None:
    found = compare("small", mode, 3)
    assert found.green
    assert len(found.before) == len(found.after) == 3
    assert found.ratio is not None


def test_wrong_results_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: Any, quiet: bool) -> None:
        with torch.no_grad():
            model.rnn.weight_hh_l0.mul_(1.01)

    monkeypatch.setattr(models.rondeau, "accelerate", spoil)
    found = compare("small", TRAINING, 3)
    assert not found.green
    assert found.ratio is None
    assert found.before == []
    assert RED in models_table([found])


@pytest.mark.parametrize("name", ["bidirectional tagger", "encoder-decoder", "speech CTC"])
def test_the_measured_ones_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MODELS[name]
    inputs, wanted = made.batch()
    assert torch.isfinite(made.loss(made()(*inputs), wanted))


def test_the_table() -> None:
    found = Comparison("small", TRAINING, (3.0, 4.0), True, [0.4, 0.2, 0.3], [0.1, 0.1, 0.2])
    assert (
        models_table([found]).splitlines()[2] == "| small | training | 300 ms | 100 ms | 3.00x | 3            | 4     |"
    )
