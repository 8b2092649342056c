from __future__ import annotations

from typing import Any

import pytest
import torch

from rondeau import Ragged
from rondeau.errors import DataError, ShapeError
from rondeau.training.align import align

LENGTHS = torch.tensor([2, 0, 3])
RAGGED = Ragged(torch.arange(10.0).reshape(5, 2), LENGTHS)
MASK = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]]).bool()
MASKED = Ragged(torch.arange(10.0).reshape(5, 2), LENGTHS, MASK)
PADDED = torch.arange(12).reshape(3, 4)


def test_plain_outputs_are_left_as_they_are() -> None:
    target, output, weight = torch.zeros(3), torch.zeros(3, 2), torch.ones(3)
    assert all(a is b for a, b in zip(align(target, output, weight), (target, output, weight), strict=True))


def test_a_padded_target_gives_up_its_padding() -> None:
    target, output, _ = align(PADDED, RAGGED)
    assert target.tolist() == [0, 1, 8, 9, 10]
    assert output is RAGGED.values


def test_a_padded_target_gives_up_its_masked_steps() -> None:
    assert align(PADDED, MASKED)[0].tolist() == [1, 3, 8, 9, 10]
    assert align(PADDED[..., None], MASKED)[0].tolist() == [[1], [3], [8], [9], [10]]


@pytest.mark.parametrize("output", [RAGGED, MASKED])
def test_a_ragged_target_has_a_value_for_each_real_step(output: Ragged) -> None:
    target = Ragged(torch.tensor([5, 6, 7, 8, 9]), LENGTHS)
    assert align(target, output)[0].tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("output", [RAGGED, MASKED])
def test_weights_of_rows_and_of_steps(output: Ragged) -> None:
    assert align(PADDED, output, torch.tensor([1.0, 2.0, 3.0]))[2].tolist() == [1, 1, 3, 3, 3]
    by_step = align(PADDED, output, PADDED.float())[2].tolist()
    assert by_step == ([0, 1, 8, 9, 10] if output is RAGGED else [1, 3, 8, 9, 10])
    ragged = Ragged(torch.arange(5.0), LENGTHS)
    assert align(PADDED, output, ragged)[2].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("target", "output", "words"),
    [
        (Ragged(torch.zeros(5), torch.tensor([2, 1, 2])), RAGGED, "target has another number of steps .at row 1."),
        (Ragged(torch.zeros(2), torch.tensor([1, 1])), RAGGED, "target has another number of rows"),
        (torch.zeros(3), RAGGED, r"target does not fit the output: expected \(3, time, ...\)"),
        (torch.zeros(2, 4), RAGGED, "target has another number of rows: expected 3, got 2"),
        (torch.zeros(3, 5), MASKED, "target does not fit the mask"),
        (RAGGED, torch.zeros(3, 2), "return_sequences=True"),
        (RAGGED, torch.zeros(3, 4, 2), "Give x with lengths too"),
    ],
)
def test_targets_that_do_not_fit(target: Any, output: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        align(target, output)


def test_a_target_too_short_for_its_output() -> None:
    with pytest.raises(DataError, match="a length does not fit"):
        align(torch.zeros(3, 2), RAGGED)


@pytest.mark.parametrize("weight", [torch.ones(2), torch.ones(3, 3), Ragged(torch.ones(1), torch.tensor([0, 0, 1]))])
def test_weights_that_do_not_fit(weight: Any) -> None:
    with pytest.raises(ShapeError, match="sample_weight"):
        align(PADDED, MASKED, weight)
