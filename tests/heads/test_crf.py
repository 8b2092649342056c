"""The conditional random field: against all sequences of tags, its gradient, its constraints, in a model."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch

import rondeau
from rondeau import Sequential, layers
from rondeau.errors import ArgumentError, DataError, ShapeError
from rondeau.heads import CRF
from rondeau.heads.chain import conditionals, log_likelihood, marginals, viterbi
from rondeau.heads.crf import rows_of_chain
from rondeau.sequence import Ragged
from rondeau.training.losses import CRFLoss

TAGS = 3
LENGTHS = [2, 4, 0, 1, 4]
EPSILON = torch.finfo(torch.float64).eps


def field(scale: float = 1.0, seed: int = 0) -> tuple[Ragged, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(sum(LENGTHS), TAGS), (TAGS, TAGS), (TAGS,), (TAGS,)]
    values, *rest = (scale * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return Ragged(values, torch.tensor(LENGTHS)), *rest


def score(row: torch.Tensor, tags: tuple[int, ...], transitions, start, end) -> torch.Tensor:
    """A sequence's score as the definition has it."""
    total = start[tags[0]] + end[tags[-1]]
    for t, tag in enumerate(tags):
        total = total + row[t, tag]
        if t:
            total = total + transitions[tags[t - 1], tag]
    return total


def every_sequence(row: torch.Tensor, *weights: torch.Tensor) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """All sequences of tags, and the logarithm of each one's probability."""
    found = list(product(range(TAGS), repeat=len(row)))
    return found, torch.log_softmax(torch.stack([score(row, tags, *weights) for tags in found]), 0)


@pytest.mark.parametrize("scale", [1.0, 60.0])  # the second goes the slower way, where nothing may underflow
def test_likelihood_best_and_marginals_are_those_of_all_sequences(scale):
    emissions, *weights = field(scale)
    chain = conditionals(emissions, *weights)
    best, best_score = viterbi(chain)
    shares = marginals(chain)
    tolerance = 64 * EPSILON * scale
    for i, row in enumerate(emissions.rows()):
        if not len(row):
            assert best_score[i] == 0
            continue
        sequences, logs = every_sequence(row, *weights)
        for tags, expected in zip(sequences, logs, strict=True):
            flat = torch.zeros(len(emissions.values), dtype=torch.long)
            begin = int(emissions.offsets[i])
            flat[begin : begin + len(row)] = torch.tensor(tags)
            assert torch.allclose(log_likelihood(chain, flat)[i], expected, rtol=tolerance, atol=tolerance)
        assert tuple(best.rows()[i].tolist()) == sequences[int(logs.argmax())]
        assert torch.allclose(best_score[i], logs.max(), rtol=tolerance, atol=tolerance)
        for t in range(len(row)):
            for tag in range(TAGS):
                there = torch.tensor([tags[t] == tag for tags in sequences])
                expected = logs[there].exp().sum()
                assert torch.allclose(shares.rows()[i][t, tag], expected, atol=tolerance)


def test_gradient():
    emissions, *weights = field()
    tags = torch.arange(sum(LENGTHS)) % TAGS
    mixing = torch.randn(sum(LENGTHS), TAGS, TAGS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def likelihood(values, *weights):
        return log_likelihood(conditionals(emissions.with_values(values), *weights), tags)

    def whole(values, *weights):  # every entry of the chain has a gradient of its own
        return (mixing * conditionals(emissions.with_values(values), *weights).values).sum()

    inputs = [one.clone().requires_grad_() for one in (emissions.values, *weights)]
    assert torch.autograd.gradcheck(likelihood, inputs)
    assert torch.autograd.gradcheck(whole, inputs)


def test_gradient_of_the_likelihood_is_what_all_sequences_expect():
    emissions, *weights = field()
    values = emissions.values.clone().requires_grad_()
    tags = torch.arange(sum(LENGTHS)) % TAGS
    chain = conditionals(emissions.with_values(values), *weights)
    log_likelihood(chain, tags).sum().backward()
    expected = torch.nn.functional.one_hot(tags, TAGS) - marginals(chain.with_values(chain.values.detach())).values
    assert torch.allclose(values.grad, expected, atol=64 * EPSILON)


def test_long_rows_lose_no_precision_in_float32():
    generator = torch.Generator().manual_seed(0)
    values = 3 * torch.randn(2000, 5, generator=generator)
    weights = [torch.randn(s, generator=generator) for s in ((5, 5), (5,), (5,))]
    lengths = torch.tensor([2000])
    single = conditionals(Ragged(values, lengths), *weights).values
    double = conditionals(Ragged(values.double(), lengths), *[w.double() for w in weights]).values
    assert torch.allclose(single.double(), double, rtol=0, atol=64 * torch.finfo(torch.float32).eps)


def test_forbidden_sequences_have_no_probability_and_the_others_all_of_it():
    torch.manual_seed(0)
    layer = CRF(forbidden=[(None, 2), (0, 2), (1, None)]).double()
    x = 20 * torch.randn(1, 4, TAGS, dtype=torch.float64)  # the scores themselves are for what is forbidden
    x[..., 2] += 2000  # so much that what may follow underflows beside it
    chain = layer(x)
    total = 0.0
    for tags in product(range(TAGS), repeat=4):
        likely = float(log_likelihood(Ragged.full(chain), torch.tensor(tags)).exp().detach())
        legal = tags[0] != 2 and tags[-1] != 1 and (0, 2) not in pairwise(tags)
        assert legal or likely == 0
        total += likely
    assert total == pytest.approx(1, abs=4 * 2000 * EPSILON)
    best = CRF.decode(chain)[0].tolist()
    assert best[0] != 2
    assert (0, 2) not in pairwise(best)


def test_rows_are_found_again_in_a_flat_chain():
    emissions, *weights = field()
    chain = conditionals(emissions, *weights)
    assert rows_of_chain(chain.values).lengths.tolist() == [length for length in LENGTHS if length]
    assert torch.equal(viterbi(rows_of_chain(chain.values))[0].values, viterbi(chain)[0].values)


def test_padding_and_masks_change_nothing():
    layer = CRF()
    x = torch.randn(2, 4, TAGS, generator=torch.Generator().manual_seed(0))
    ragged = layer(Ragged.from_padded(x, [4, 2]))
    masked = layer(x, mask=torch.tensor([[True] * 4, [True, True, False, False]]))
    assert torch.equal(masked[1, :2], ragged.rows()[1])
    assert torch.equal(layer(x)[0], ragged.rows()[0])
    empty = layer(torch.zeros(2, 0, TAGS))
    assert empty.shape == (2, 0, TAGS, TAGS)


def sentences(rows: int = 200) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Tags that go round, of which only the first is seen: the others follow from the one before alone."""
    generator = torch.Generator().manual_seed(0)
    x, y = [], []
    for length in torch.randint(3, 9, (rows,), generator=generator).tolist():
        tags = (torch.arange(length) + int(torch.randint(0, 3, (), generator=generator))) % 3
        seen = torch.nn.functional.one_hot(tags, 3).float()
        seen[1:] = 0
        x.append(seen)
        y.append(tags)
    return x, y


def test_learns_in_a_model_is_saved_and_goes_on(tmp_path):
    torch.manual_seed(0)
    x, y = sentences()
    model = Sequential([layers.Input((None, 3)), layers.Dense(3), CRF(name="tags")])
    model.compile(rondeau.optimizers.Adam(0.3), loss="crf", metrics=["crf_accuracy"])
    history = model.fit(x, y, epochs=10, verbose=0).history
    assert history["crf_accuracy"][-1] == 1
    assert history["loss"][-1] < 0.1 < history["loss"][0]
    weights = {name for name, _ in model.named_parameters()}
    assert {name.split(".")[-1] for name in weights} >= {"transitions", "start", "end"}
    model.save(tmp_path / "model")
    loaded = rondeau.load(tmp_path / "model")
    for row, again in zip(model.predict(x), loaded.predict(x), strict=True):
        assert (row == again).all()
    assert loaded.evaluate(x, y, return_dict=True) == model.evaluate(x, y, return_dict=True)
    for one in (model, loaded):
        torch.manual_seed(1)
        one.fit(x, y, epochs=1, verbose=0, shuffle=False)
    assert torch.equal(model.get_layer("tags").transitions, loaded.get_layer("tags").transitions)


def test_a_mean_over_steps_is_the_likelihood_of_rows_and_weights_count():
    emissions, *weights = field()
    chain = conditionals(emissions, *weights)
    tags = torch.arange(sum(LENGTHS)) % TAGS
    loss = CRFLoss()(tags, chain.values)
    assert torch.allclose(loss * sum(LENGTHS), -log_likelihood(chain, tags).sum())
    weight = torch.zeros(sum(LENGTHS), dtype=torch.float64)
    weight[:2] = 1
    alone = CRFLoss(reduction="sum")(tags, chain.values, weight)
    assert torch.allclose(alone, -log_likelihood(chain, tags)[0])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="forbidden"):
        CRF(forbidden=[(0, 7)])(torch.zeros(1, 2, 3))
    with pytest.raises(ShapeError, match="no chain of tags"):
        CRFLoss()(torch.zeros(2, 4), torch.zeros(2, 4, 3))
    with pytest.raises(DataError, match="label outside"):
        CRFLoss()(torch.full((2, 4), 3), CRF()(torch.zeros(2, 4, 3)))
    with pytest.raises(ShapeError, match="chain of tags"):
        conditionals(Ragged(torch.zeros(2, 3), torch.tensor([2])), torch.zeros(2, 2), torch.zeros(3), torch.zeros(3))


def test_a_window_is_not_enough():
    model = Sequential([layers.Input((None, 3)), layers.Dense(3), CRF()])
    model.compile("adam", loss="crf")
    x, y = torch.zeros(2, 8, 3), torch.zeros(2, 8, dtype=torch.long)
    with pytest.raises(ArgumentError, match="rest on all tags of the sequence"):
        model.fit(x, y, window=4, verbose=0)
    with pytest.raises(ArgumentError, match="crf"):
        model.stream()
