"""Greedy and beam search against brute force, with a model that is a table of probabilities."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from rondeau.errors import ArgumentError, NumericsError, ShapeError
from rondeau.heads.beam import Hypothesis, beam_search, greedy, select
from rondeau.sequence import Ragged

BEGIN, END, SIZE = 0, 2, 4


def tables(rows: int, seed: int = 0, sharp: float = 1.5) -> Tensor:
    """For each row, log-probabilities of a token after another and a place: `(rows, places, tokens, tokens)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.log_softmax(sharp * torch.randn(rows, 8, SIZE, SIZE, generator=generator).double(), -1)


def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The table is part of the state, as an encoder's output would be; the place counts up."""
    table, place = state
    here = torch.arange(len(tokens))
    return table[here, place, tokens], (table, place + 1)


def begun(table: Tensor) -> Any:
    return table, torch.zeros(len(table), dtype=torch.int64)


def brute_force(table: Tensor, max_length: int, alpha: float) -> list[Hypothesis]:
    """All sequences of one row's table, best first, those that end before those that do not."""
    others = [token for token in range(SIZE) if token != END]
    found = []
    for length in range(1, max_length + 1):
        for body in itertools.product(others, repeat=length - 1):
            found.append([*body, END])
    found += [list(body) for body in itertools.product(others, repeat=max_length)]
    hypotheses = []
    for tokens in found:
        pairs = zip([BEGIN, *tokens], tokens, strict=False)
        total = sum(float(table[place, a, b]) for place, (a, b) in enumerate(pairs))
        done = tokens[-1] == END
        score = total / ((5 + len(tokens)) / 6) ** alpha
        hypotheses.append(Hypothesis(tokens[:-1] if done else tokens, total, score, done))
    return sorted(hypotheses, key=lambda one: (one.ended, one.score), reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_a_beam_as_wide_as_all_sequences_is_exhaustive(alpha: float) -> None:
    table = tables(3)
    width = sum(3**n for n in range(4)) + 3**4
    found = beam_search(step, begun(table), BEGIN, END, width=width, max_length=4, length_penalty=alpha)
    for row, hypotheses in enumerate(found):
        expected = brute_force(table[row], 4, alpha)
        assert [one.tokens for one in hypotheses] == [one.tokens for one in expected]
        assert [one.ended for one in hypotheses] == [one.ended for one in expected]
        for one, true in zip(hypotheses, expected, strict=True):
            assert one.log_probability == pytest.approx(true.log_probability, abs=1e-12)
            assert one.score == pytest.approx(true.score, abs=1e-12)


@pytest.mark.parametrize("max_length", [1, 3, 8])
def test_width_one_is_greedy(max_length: int) -> None:
    table = tables(50, seed=1)
    beams = beam_search(step, begun(table), BEGIN, END, width=1, max_length=max_length)
    plain = greedy(step, begun(table), BEGIN, END, max_length=max_length)
    assert [row[0] for row in beams] == plain
    assert {one.ended for one in plain} == {True, False}


def test_greedy_takes_the_best_token_at_each_step() -> None:
    table = tables(20, seed=2)
    for row, found in enumerate(greedy(step, begun(table), BEGIN, END, max_length=8)):
        token, expected, total = BEGIN, [], 0.0
        for place in range(8):
            best, index = table[row, place, token].max(-1)
            token, total = int(index), total + float(best)
            if token == END:
                break
            expected.append(token)
        assert found.tokens == expected
        assert found.ended == (token == END)
        assert found.log_probability == pytest.approx(total, abs=1e-12)


def test_wider_beams_find_better_sequences() -> None:
    table = tables(100, seed=3, sharp=1.0)
    means = []
    for width in (1, 3, 10, 50):
        found = beam_search(step, begun(table), BEGIN, END, width=width, max_length=6, length_penalty=0.0)
        assert all(row[i].score >= row[i + 1].score or row[i].ended for row in found for i in range(len(row) - 1))
        means.append(sum(row[0].log_probability for row in found) / len(found))
    best = sum(brute_force(table[row], 6, 0.0)[0].log_probability for row in range(100)) / 100
    assert means[0] < means[1] < means[2] <= means[3] <= best + 1e-12


def test_rows_know_nothing_of_each_other() -> None:
    table = tables(12, seed=4)
    together = beam_search(step, begun(table), BEGIN, END, width=4, max_length=8)
    for row in range(12):
        assert beam_search(step, begun(table[row : row + 1]), BEGIN, END, width=4, max_length=8) == [together[row]]


def test_rows_that_have_ended_are_not_stepped_again() -> None:
    table = torch.full((3, 8, SIZE, SIZE), -torch.inf)
    table[0, :, :, END] = 0.0  # ends at once
    table[1, :2, :, 1] = 0.0
    table[1, 2, :, END] = 0.0  # after two tokens
    table[2, :, :, 3] = 0.0  # never
    counts: list[int] = []

    def counted(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        counts.append(len(tokens))
        return step(tokens, state)

    found = beam_search(counted, begun(table), BEGIN, END, width=3, max_length=5)
    assert counts == [3, 2, 2, 1, 1]
    assert [[(one.tokens, one.ended) for one in row] for row in found] == [
        [([], True)],  # one hypothesis only: the others have probability zero
        [([1, 1], True)],
        [([3] * 5, False)],
    ]
    counts.clear()
    assert greedy(counted, begun(table), BEGIN, END, max_length=5) == [row[0] for row in found]
    assert counts == [3, 2, 2, 1, 1]


def test_the_penalty_decides_between_short_and_long() -> None:
    table = torch.full((1, 8, SIZE, SIZE), -torch.inf)
    table[0, 0, BEGIN, END], table[0, 0, BEGIN, 1] = torch.tensor([0.6, 0.4]).log()
    table[0, 1:4, 1, 1] = 0.0
    table[0, 4, 1, END] = 0.0
    short, long = beam_search(step, begun(table), BEGIN, END, width=2, length_penalty=0.0)[0]
    assert (short.tokens, long.tokens) == ([], [1, 1, 1, 1])
    long, short = beam_search(step, begun(table), BEGIN, END, width=2, length_penalty=1.5)[0]
    assert (short.tokens, long.tokens) == ([], [1, 1, 1, 1])
    assert long.score == pytest.approx(torch.tensor(0.4).log().item() / (10 / 6) ** 1.5, abs=1e-6)


def test_a_sequence_that_ended_keeps_its_place_among_better_beginnings() -> None:
    table = torch.full((1, 8, SIZE, SIZE), 0.25).log()  # all that goes on gets improbable in the end
    table[0, 0, BEGIN] = torch.tensor([0.0, 0.5, 0.1, 0.4]).log()
    table[0, 1] = torch.tensor([0.5, 0.5, 0.0, 0.0]).log()  # at first, four beginnings are better than the end was
    found = beam_search(step, begun(table), BEGIN, END, width=3, max_length=6, length_penalty=0.0)[0]
    assert found[0].tokens == []
    assert found[0].log_probability == pytest.approx(torch.tensor(0.1).log().item(), abs=1e-6)


def test_states_of_every_form_are_selected_by_rows() -> None:
    ragged = Ragged.from_rows([torch.tensor([1.0]), torch.zeros(0), torch.tensor([2.0, 3.0])])
    state = {"a": torch.arange(3), "b": [(ragged, None)]}
    picked = select(state, torch.tensor([2, 0, 2]))
    assert picked["a"].tolist() == [2, 0, 2]
    assert picked["b"][0][0].lengths.tolist() == [2, 1, 2]
    assert picked["b"][0][1] is None
    with pytest.raises(ArgumentError, match="selected by rows"):
        select({"a": "text"}, torch.tensor([0]))


def test_each_row_may_begin_with_a_token_of_its_own() -> None:
    table = tables(3, seed=5)
    first = torch.tensor([0, 1, 3])
    together = greedy(step, begun(table), first, END, max_length=8)
    for row in range(3):
        assert greedy(step, begun(table[row : row + 1]), int(first[row]), END, max_length=8) == [together[row]]
    found = beam_search(lambda tokens, _: (table[0, 0][tokens], None), None, first, END, width=2, max_length=3)
    assert len(found) == 3  # a step without state


def test_no_rows_give_no_hypotheses() -> None:
    assert beam_search(step, begun(tables(0)), BEGIN, END) == []
    assert greedy(step, begun(tables(0)), BEGIN, END) == []


@pytest.mark.parametrize("search", [beam_search, greedy])
def test_errors_say_what_is_wrong(search: Any) -> None:
    state = begun(tables(2))
    with pytest.raises(ArgumentError, match="max_length: expected a positive integer, got 0"):
        search(step, state, BEGIN, END, max_length=0)
    with pytest.raises(ArgumentError, match="how many rows"):
        search(step, None, BEGIN, END)
    with pytest.raises(ShapeError, match=r"\(rows,\)"):
        search(step, state, torch.zeros(2, 1), END)
    with pytest.raises(ArgumentError, match="end is no token: expected 0 to 3, got 9"):
        search(step, state, BEGIN, 9)
    with pytest.raises(ArgumentError, match="log_softmax"):
        search(lambda tokens, s: (torch.ones(len(tokens), SIZE), s), state, BEGIN, END)
    with pytest.raises(NumericsError, match="NaN"):
        search(lambda tokens, s: (torch.full((len(tokens), SIZE), torch.nan), s), state, BEGIN, END)
    with pytest.raises(ShapeError, match=r"\(2, vocabulary\)"):
        search(lambda tokens, s: (torch.zeros(1, SIZE), s), state, BEGIN, END)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(ArgumentError, match="width"):
        beam_search(step, begun(tables(1)), BEGIN, END, width=0)
