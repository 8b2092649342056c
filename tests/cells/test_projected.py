from __future__ import annotations

import pytest
import torch

from rondeau import Keep, scan
from rondeau.cells import LSTMState, ProjectedLSTMCell
from rondeau.config import remake
from rondeau.errors import ArgumentError
from rondeau.recurrence.engine import use_engine


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_against_torch(engine: str) -> None:
    cell = ProjectedLSTMCell(7, 3, bias_initializer="normal").double()
    cell.build_for(5)
    theirs = torch.nn.LSTM(5, 7, proj_size=3, batch_first=True).double()
    pairs = {"kernel": "weight_ih_l0", "recurrent_kernel": "weight_hh_l0", "projection": "weight_hr_l0"}
    with torch.no_grad():
        for name, torchs in pairs.items():
            getattr(theirs, torchs).copy_(getattr(cell, name).T)
        theirs.bias_ih_l0.copy_(cell.bias)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    expected, (h, c) = theirs(x)
    with use_engine(engine):
        outputs, state = scan(cell, x)
    for a, b in ((outputs, expected), (state.h, h[0]), (state.c, c[0])):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    (outputs.square().sum() + state.c.sum()).backward()
    (expected.square().sum() + c.sum()).backward()
    for name, torchs in pairs.items():
        torch.testing.assert_close(getattr(cell, name).grad, getattr(theirs, torchs).grad.T, rtol=1e-11, atol=1e-11)


def test_weights_and_state() -> None:
    cell = ProjectedLSTMCell(8, 3)
    cell.build_for(5)
    assert [(n, tuple(p.shape)) for n, p in cell.named_parameters()] == [
        ("kernel", (5, 32)),
        ("recurrent_kernel", (3, 32)),
        ("bias", (32,)),
        ("projection", (8, 3)),
    ]
    assert cell.state_size == LSTMState(3, 8)
    assert cell.output_size == 3
    assert cell.bias is not None
    assert torch.equal(cell.bias[8:16], torch.ones(8))


def test_dropout_of_what_recurs_has_its_size() -> None:
    cell = ProjectedLSTMCell(8, 3, recurrent_dropout=0.5)
    outputs, state = scan(cell, torch.randn(2, 4, 5), engine="native")
    assert outputs.shape == (2, 4, 3)
    assert state.c.shape == (2, 8)


def test_gates_are_named() -> None:
    keep = Keep(intermediates=True)
    scan(ProjectedLSTMCell(8, 3), torch.randn(2, 4, 5), keep=keep)
    assert list(keep.intermediates) == ["forget_gate", "input_gate", "candidate", "output_gate"]


def test_made_again_from_its_arguments() -> None:
    cell = remake(ProjectedLSTMCell(8, 3, use_bias=False, recurrent_activation="hard_sigmoid"))
    assert (cell.units, cell.projection_size, cell.use_bias) == (8, 3, False)


@pytest.mark.parametrize("size", [0, 8, 9, 2.5, True])
def test_a_projection_makes_it_smaller(size: object) -> None:
    with pytest.raises(ArgumentError, match="ProjectedLSTMCell: projection_size"):
        ProjectedLSTMCell(8, size)  # type: ignore[arg-type]
