"""The sampled softmax: unbiased over all draws, exact where a model is evaluated, saved, and what it refuses."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import rondeau
from rondeau import Sequential, layers
from rondeau.errors import ArgumentError, DataError, NotBuiltError
from rondeau.heads import SampledSoftmax
from rondeau.heads.sampled_softmax import LogUniform, sampled_crossentropy
from rondeau.models.language_model import language_model
from rondeau.training.losses import SampledSoftmaxLoss

EPSILON = torch.finfo(torch.float64).eps


def problem(classes: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (classes, 4), (classes,)]
    features, kernel, bias = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return features, torch.tensor([0, 2, 4]), kernel, bias


def test_the_proposal_is_a_distribution_and_is_drawn_from():
    proposal = LogUniform(20)
    share = proposal.log_probability(torch.arange(20)).exp()
    assert float(share.sum()) == pytest.approx(1, abs=32 * EPSILON)
    count = 200_000
    drawn = proposal.sample(count, torch.Generator().manual_seed(0))
    counted = torch.bincount(drawn, minlength=20) / count
    deviation = (share * (1 - share) / count).sqrt()
    assert bool(((counted - share).abs() < 5 * deviation).all())


def test_the_denominator_is_unbiased_over_all_draws():
    """Every draw of two classes with its probability: the mean is exact, not nearly so."""
    features, targets, kernel, bias = problem()
    proposal = LogUniform(5)
    logs = proposal.log_probability(torch.arange(5))
    scores = features @ kernel.T + bias
    true = scores.gather(1, targets[:, None])[:, 0]
    mean = torch.zeros(3, dtype=torch.float64)
    for draw in product(range(5), repeat=2):
        drawn = torch.tensor(draw)
        loss = sampled_crossentropy(features, targets, kernel, bias, drawn, logs[drawn])
        mean += logs[drawn].sum().exp() * (loss + true).exp()
    assert torch.allclose(mean, scores.exp().sum(1), rtol=64 * EPSILON)


def test_with_many_samples_loss_and_gradient_are_those_of_the_full_softmax():
    features, targets, kernel, bias = problem()
    proposal, count = LogUniform(5), 400_000
    drawn = proposal.sample(count, torch.Generator().manual_seed(0))
    inputs = [one.clone().requires_grad_() for one in (features, kernel, bias)]
    sampled = sampled_crossentropy(inputs[0], targets, inputs[1], inputs[2], drawn, proposal.log_probability(drawn))
    full = F.cross_entropy(inputs[0] @ inputs[1].T + inputs[2], targets, reduction="none")
    assert torch.allclose(sampled, full, rtol=0, atol=20 / count**0.5)
    for one, other in zip(
        torch.autograd.grad(sampled.sum(), inputs), torch.autograd.grad(full.sum(), inputs), strict=True
    ):
        assert torch.allclose(one, other, rtol=0, atol=20 / count**0.5)


def test_gradient():
    features, targets, kernel, bias = problem()
    drawn = torch.tensor([0, 1, 1, 3])  # the first is a target, one comes twice
    logs = LogUniform(5).log_probability(drawn)
    inputs = [one.clone().requires_grad_() for one in (features, kernel, bias)]
    assert torch.autograd.gradcheck(lambda f, k, b: sampled_crossentropy(f, targets, k, b, drawn, logs), inputs)


def follow(rows: int = 64, classes: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Each token is followed by the next one."""
    begin = torch.randint(0, classes, (rows, 1), generator=torch.Generator().manual_seed(0))
    tokens = (begin + torch.arange(9)) % classes
    return tokens[:, :-1], tokens[:, 1:]


def model(samples: int = 16) -> Sequential:
    torch.manual_seed(0)
    made = Sequential([layers.Input((None,), dtype="int64"), layers.Embedding(50, 16), SampledSoftmax(50, samples)])
    made.compile(rondeau.optimizers.Adam(0.05), loss="sampled_softmax")
    return made


def test_learns_and_is_evaluated_exactly():
    x, y = follow()
    made = model()
    history = made.fit(x, y, epochs=15, verbose=0, validation_data=(x, y)).history
    assert history["val_loss"][-1] < 0.5 < history["val_loss"][0]
    logits = torch.from_numpy(made.predict(x))
    assert logits.shape == (*x.shape, 50)
    expected = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    assert made.evaluate(x, y) == pytest.approx(float(expected), rel=64 * torch.finfo(torch.float32).eps)
    assert (logits.argmax(-1) == y).float().mean() > 0.9


def test_ragged_rows_learn_too():
    x, y = follow(8)
    made = model()
    made.fit([row[: i + 1] for i, row in enumerate(x)], [row[: i + 1] for i, row in enumerate(y)], verbose=0)
    assert np.isfinite(made.history.history["loss"][0])


def test_saved_and_trained_on(tmp_path):
    x, y = follow()
    made = model()
    made.fit(x, y, verbose=0)
    made.save(tmp_path / "model")
    loaded = rondeau.load(tmp_path / "model")
    assert (loaded.predict(x) == made.predict(x)).all()
    for one in (made, loaded):
        torch.manual_seed(1)
        one.fit(x, y, verbose=0)
    assert torch.equal(made.layers[-1].kernel, loaded.layers[-1].kernel)


def test_language_model_of_words():
    words = language_model(1000, units=8, embedding=8, sampled=32)
    words.compile("adam", loss="sampled_softmax")
    ids = torch.randint(0, 1000, (4, 21), generator=torch.Generator().manual_seed(0))
    words.fit(ids[:, :-1], ids[:, 1:], window=10, verbose=0)
    words.reset_states()
    assert words(ids[:, :3]).shape == (4, 3, 1000)


def test_what_does_not_fit_is_refused():
    x, y = follow()
    plain = Sequential([layers.Embedding(50, 16), layers.Dense(50)])
    plain.compile("adam", loss="sampled_softmax")
    with pytest.raises(ArgumentError, match="one SampledSoftmax in the model"):
        plain.fit(x, y, verbose=0)
    measured = model()
    measured.compile("adam", loss="sampled_softmax", metrics=["accuracy"])
    with pytest.raises(ArgumentError, match="metrics see no outputs"):
        measured.fit(x, y, verbose=0)
    with pytest.raises(DataError, match="label outside the 50 classes"):
        model().fit(x, y + 50, verbose=0)
    with pytest.raises(NotBuiltError, match="no model yet"):
        SampledSoftmaxLoss()(y, torch.zeros(64, 8, 16))
