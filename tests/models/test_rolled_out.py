"""A model that reads its own answers."""

from __future__ import annotations

import torch

from rondeau import Model, Sequential, layers
from rondeau.models.rolled_out import roll_out


def test_steps_are_those_of_the_sequence_read_at_once() -> None:
    model = Sequential([layers.Input((None, 2)), layers.LSTM(5, return_sequences=True), layers.Dense(2)])
    past = torch.randn(3, 4, 2)
    made = [past[:, -1:]]
    roll_out(model, past[:, :-1], 5, lambda step: made[-1], lambda step, output: made.append(output))
    whole = model(torch.cat([past[:, :-1], *made[:-1]], 1), training=False)
    torch.testing.assert_close(torch.cat(made[1:], 1), whole[:, 3:])


def test_copies_follow_each_other_and_go_their_own_way() -> None:
    x, ids = layers.Input((None, 1)), layers.Input((None,), dtype="int64")
    together = layers.Concatenate()([x, layers.Embedding(3, 2)(ids)])
    model = Model([x, ids], layers.GRU(4, return_sequences=True)(together))
    past = (torch.randn(2, 3, 1), torch.tensor([[1, 1, 1], [2, 2, 2]]))
    given = torch.randn(6, 1, 1)
    found = []
    now = torch.tensor([[1], [1], [1], [2], [2], [2]])
    roll_out(model, past, 1, lambda step: (given, now), lambda step, output: found.append(output), copies=3)
    for row in range(6):
        one = torch.cat([past[0][row // 3 : row // 3 + 1], given[row : row + 1]], 1)
        expected = model((one, torch.full((1, 4), row // 3 + 1)), training=False)[:, -1:]
        torch.testing.assert_close(found[0][row : row + 1], expected)


def test_mode_and_states_stay() -> None:
    model = Sequential([layers.Input((None, 1)), layers.GRU(3, stateful=True, return_sequences=True)])
    model.train()
    model(torch.ones(2, 3, 1))
    before = {name: state.clone() for name, state in model.states().items()}
    assert before
    seen: list[torch.Tensor] = []
    roll_out(model, torch.zeros(2, 3, 1), 2, lambda step: torch.zeros(2, 1, 1), lambda step, out: seen.append(out))
    assert model.training
    assert all(not output.requires_grad for output in seen)
    for name, state in before.items():
        torch.testing.assert_close(model.states()[name], state)
