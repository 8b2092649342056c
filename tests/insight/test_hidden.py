"""Hidden states: what a step-by-step computation gives, in the input's order; components and the order of units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rondeau import Ragged, Sequential, layers
from rondeau.errors import ArgumentError, DataError
from rondeau.insight import HiddenStates, hidden_states
from rondeau.insight.hidden import by_likeness, principal

EPS = torch.finfo(torch.float32).eps


def by_name(found: list[HiddenStates]) -> dict[str, Tensor]:
    return {f"{one.name}.{one.part}": torch.tensor(one.values).T for one in found}


class Tagger(torch.nn.Module):
    """Modules of torch.nn, time first, two layers and directions."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 4)
        self.rnn = torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True)
        self.last = torch.nn.GRU(10, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(self.rnn(self.embedding(ids.t()))[0])[0]


def test_states_of_torchs_modules_are_those_of_its_own_steps() -> None:
    torch.manual_seed(0)
    model, ids = Tagger(), torch.tensor([[1, 2, 3, 4, 5, 1]])
    found = hidden_states(model, ids)
    assert [(one.name, one.part, one.backward) for one in found] == [
        ("rnn.l0", "h", False),
        ("rnn.l0", "c", False),
        ("rnn.l0_reverse", "h", True),
        ("rnn.l0_reverse", "c", True),
        ("rnn.l1", "h", False),
        ("rnn.l1", "c", False),
        ("rnn.l1_reverse", "h", True),
        ("rnn.l1_reverse", "c", True),
        ("last", "h", False),
    ]
    states = by_name(found)
    with torch.no_grad():
        x = model.embedding(ids[0])
        for suffix, order in (("", range(6)), ("_reverse", range(5, -1, -1))):
            cell = torch.nn.LSTMCell(4, 5)
            weights = zip(
                cell.parameters(), ("ih", "hh", "ih", "hh"), ("weight", "weight", "bias", "bias"), strict=True
            )
            for own, part, kind in weights:
                own.copy_(getattr(model.rnn, f"{kind}_{part}_l0{suffix}"))
            h = c = torch.zeros(1, 5)
            for t in order:
                h, c = cell(x[t][None], (h, c))
                assert torch.allclose(states[f"rnn.l0{suffix}.h"][t], h[0], rtol=0, atol=8 * EPS)
                assert torch.allclose(states[f"rnn.l0{suffix}.c"][t], c[0], rtol=0, atol=8 * EPS)
        assert torch.allclose(states["last.h"], model(ids)[:, 0], rtol=0, atol=16 * EPS)
    assert type(model.rnn) is torch.nn.LSTM


def test_states_of_layers_are_their_outputs() -> None:
    torch.manual_seed(0)
    x = layers.Input((None, 3))
    first = layers.Bidirectional(layers.GRU(4, return_sequences=True))
    second = layers.SimpleRNN(5, return_sequences=True)
    model = Sequential([x, first, second])
    data = torch.randn(1, 7, 3)
    found = hidden_states(model, data)
    names = ["bidirectional.forward_layer", "bidirectional.backward_layer", "simple_rnn"]
    assert [one.name for one in found] == names
    with torch.no_grad():
        both = first(data)[0]
        whole = model(data)[0]
    states = by_name(found)
    assert torch.allclose(states[f"{names[0]}.h"], both[:, :4], rtol=0, atol=8 * EPS)
    assert torch.allclose(states[f"{names[1]}.h"], both[:, 4:], rtol=0, atol=8 * EPS)
    assert torch.allclose(states["simple_rnn.h"], whole, rtol=0, atol=8 * EPS)
    ragged = hidden_states(model, Ragged.from_rows([data[0]]))
    assert [one.values for one in ragged] == [one.values for one in found]


def test_nothing_of_the_model_is_changed() -> None:
    torch.manual_seed(0)
    model = Sequential([layers.Embedding(9, 4), layers.Dropout(0.5), layers.LSTM(5, stateful=True)])
    ids = torch.tensor([[1, 2, 3]])
    model(ids)
    states, drawn = {name: state.clone() for name, state in model.states().items()}, torch.get_rng_state()
    first, again = hidden_states(model, ids), hidden_states(model, ids)
    assert [one.values for one in first] == [one.values for one in again]
    assert all(torch.equal(state, states[name]) for name, state in model.states().items())
    assert model.training
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("model", "x", "kind", "words"),
    [
        (lambda x: x, torch.zeros(1, 2, 3), ArgumentError, "torch.nn.Module"),
        (torch.nn.Linear(3, 3), torch.zeros(1, 2, 3), ArgumentError, "no recurrent layer"),
        (torch.nn.LSTM(3, 3, batch_first=True), torch.zeros(2, 2, 3), DataError, "x[:1]"),
        (torch.nn.LSTM(3, 3, batch_first=True), torch.zeros(1, 0, 3), DataError, "hidden_states: there is nothing"),
    ],
)
def test_errors(model: Any, x: Tensor, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as error:
        hidden_states(model, x)
    assert words in str(error.value)


# Components and order


def test_components_are_the_eigenvectors_of_the_covariance() -> None:
    torch.manual_seed(0)
    values = torch.randn(50, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    places, shares = principal(values)
    eigenvalues = np.linalg.eigvalsh(np.cov(values.numpy().T))[::-1]
    assert shares.tolist() == pytest.approx((eigenvalues / eigenvalues.sum())[:3].tolist(), rel=1e-12)
    assert np.cov(places.numpy().T) == pytest.approx(np.diag(eigenvalues[:3]), abs=1e-12 * eigenvalues[0])
    loadings = torch.linalg.lstsq(places, values - values.mean(0)).solution
    assert all(float(row[row.abs().argmax()]) > 0 for row in loadings)
    # the same state from another end of the run has the same signs
    assert torch.allclose(principal(values.flip(0))[0].flip(0), places)


def test_a_state_that_stands_still_has_no_variance() -> None:
    places, shares = principal(torch.ones(5, 4))
    assert places.shape == (5, 3)
    assert shares.tolist() == [0.0, 0.0, 0.0]
    assert principal(torch.ones(1, 4))[0].shape == (1, 1)


def test_units_that_do_alike_are_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    wholes = torch.randn(200, 4, generator=generator)
    owner = torch.arange(24) % 4
    noise = 0.3 * torch.randn(200, 24, generator=generator)
    values = wholes[:, owner] * torch.linspace(0.5, 3, 24) + noise * torch.linspace(0.5, 3, 24)
    values = torch.cat([values, torch.full((200, 2), 0.7)], 1)  # two units stand still
    order = by_likeness(values)
    assert sorted(order) == list(range(26))
    assert order[-2:] == [24, 25]
    groups = owner[torch.tensor(order[:-2])]
    assert int((groups.diff() != 0).sum()) == 3  # four stretches, one for each group


@pytest.mark.parametrize("arc", [0.6, 1.0, 1.5, 1.8])
@pytest.mark.parametrize("first", range(4))
def test_a_wave_that_runs_through_the_units_is_put_in_order(arc: float, first: int) -> None:
    phase = arc * torch.pi * torch.arange(12) / 11  # not the whole circle: it has a beginning and an end
    mixed = torch.randperm(12, generator=torch.Generator().manual_seed(first))
    time = 2 * torch.pi * torch.arange(60 + 7 * first) / 50
    order = mixed[torch.tensor(by_likeness(torch.sin(time[:, None] + phase[mixed])))].tolist()
    assert order in (list(range(12)), list(range(11, -1, -1)))


@pytest.mark.parametrize("shape", [(1, 5), (7, 1), (7, 2), (2, 5)])
def test_few_steps_or_units_have_an_order_too(shape: tuple[int, int]) -> None:
    values = torch.arange(shape[0] * shape[1], dtype=torch.float32).view(shape).sin()
    assert sorted(by_likeness(values)) == list(range(shape[1]))
