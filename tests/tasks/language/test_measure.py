"""What is measured of a language model that is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau.models.language_model import language_model
from rondeau.tasks.language.measure import STEPS, measure


def test_a_model_is_measured_beyond_its_windows_and_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = language_model(7, "gru", units=5, depth=2, embedding=3, dropout=0.5)
    model(torch.zeros(1, 1, dtype=torch.long))
    weights, random = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    ids = np.random.default_rng(0).integers(0, 7, 3 * STEPS + 1)
    sample = measure(model, ids)
    assert sample is not None
    assert (sample.rows, sample.lengths, sample.weights) == (3, (STEPS,) * 3, [])
    assert [scan.name for scan in sample.scans] == ["gru", "gru_1"]
    assert all(scan.cut is None and scan.decay.reach == STEPS - 1 for scan in sample.scans)
    assert [len(found.exponents) for found in sample.dynamics] == [5, 5]
    assert sample.loss == pytest.approx(float(np.log(7)), rel=0.2)
    assert measure(model, ids) == sample.__class__(
        **{**sample.__dict__, "seconds": pytest.approx(0, abs=1e9)}
    )  # no dropout
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(model.parameters(), weights, strict=True))


def test_a_short_text_is_measured_as_far_as_it_goes() -> None:
    model = language_model(7, units=3, embedding=3)
    model(torch.zeros(1, 1, dtype=torch.long))
    assert measure(model, np.array([1])) is None
    sample = measure(model, np.array([1, 2, 3]))
    assert sample is not None
    assert (sample.rows, sample.lengths) == (1, (2, 2, 2))
