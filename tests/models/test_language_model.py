"""The language model: it learns, generates what it has learnt, and generation leaves it as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau.data.texts.windows import TextWindows
from rondeau.errors import ArgumentError
from rondeau.models.language_model import generate, language_model
from rondeau.models.sequential import Sequential
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.optimizers import Adam

CYCLE = np.tile(np.array([1, 2, 3, 4, 5, 3, 2, 6]), 60)  # after 2 comes 3 or 6, after 3 comes 4 or 2: it needs memory


@pytest.fixture(scope="module")
def learnt() -> Sequential:
    torch.manual_seed(0)
    model = language_model(7, units=24, embedding=8)
    model.compile(Adam(0.02), SparseCategoricalCrossentropy(from_logits=True))
    model.fit(TextWindows(CYCLE, 4, 16), epochs=12, verbose=0)
    return model


def test_it_goes_on_with_the_pattern_it_has_read(learnt: Sequential) -> None:
    drawn = list(generate(learnt, [1, 2, 3], 21, temperature=0))
    assert drawn == CYCLE[3:24].tolist()


def test_one_token_at_a_time_equals_the_whole_at_once(learnt: Sequential) -> None:
    """The state carries all there is to know: 1e-5 is about a hundred float32 epsilons of logits near 10."""
    learnt.reset_states()
    whole = learnt(torch.as_tensor(CYCLE[None, :20]))
    learnt.reset_states()
    steps = [learnt(torch.as_tensor(CYCLE[None, i : i + 1])) for i in range(20)]
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-5)
    learnt.reset_states()


def test_generation_leaves_state_and_mode_as_they_were(learnt: Sequential) -> None:
    learnt.reset_states()
    learnt(torch.as_tensor(CYCLE[None, :5]))
    before = {name: state.clone() for name, state in learnt.states().items()}
    learnt.train()
    drawing = generate(learnt, [1], 5)
    next(drawing)
    drawing.close()  # given up early
    assert learnt.training
    assert before.keys() == learnt.states().keys()
    assert all(torch.equal(state, learnt.states()[name]) for name, state in before.items())
    learnt.eval()


def test_seeds_repeat_and_forbidden_ids_do_not_come(learnt: Sequential) -> None:
    first, again, other = (list(generate(learnt, [1], 60, 2.0, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert 2 in first
    assert 2 not in list(generate(learnt, [1], 60, 2.0, seed=3, forbidden=[2]))


def test_an_empty_prompt_is_refused(learnt: Sequential) -> None:
    with pytest.raises(ArgumentError, match="a prompt of one id or more"):
        next(generate(learnt, [], 3))


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn"])
def test_cells_and_depth(cell: str) -> None:
    model = language_model(11, cell, units=6, depth=2, embedding=5, dropout=0.1)
    assert model(torch.zeros(3, 4, dtype=torch.int64)).shape == (3, 4, 11)
    assert len(model.states()) == (4 if cell == "lstm" else 2)


def test_an_unknown_cell_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"there is no cell 'lsmt'.*one of lstm"):
        language_model(11, "lsmt")
