"""CTC's loss and decoders: against the enumeration of all paths, in pieces and at once, and what they refuse."""

from __future__ import annotations

import math
from itertools import groupby, product

import pytest
import torch

from rondeau.errors import ArgumentError, DataError, NumericsError, ShapeError
from rondeau.heads.ctc import ctc_loss, frames_needed
from rondeau.heads.ctc_decoding import PrefixBeam, common, greedy
from rondeau.sequence import Ragged

EPSILON = torch.finfo(torch.float64).eps
CLASSES = 3


def drawn(frames: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(frames, CLASSES, generator=generator, dtype=torch.float64)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in groupby(path) if symbol)


def by_enumeration(logits: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    """The probability of every transcript, as the definition has it: the sum over all its paths."""
    logs = torch.log_softmax(logits, -1)
    found: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for path in product(range(logits.shape[1]), repeat=len(logits)):
        total = sum((logs[t, c] for t, c in enumerate(path)), logs.new_zeros(()))
        found.setdefault(collapsed(path), []).append(total)
    return {symbols: torch.logsumexp(torch.stack(paths), 0) for symbols, paths in found.items()}


def test_the_loss_and_its_gradient_are_those_of_all_paths():
    rows = [(5, [1, 2]), (4, [1, 1]), (3, []), (5, [2, 2, 1]), (1, [2])]
    pieces = [drawn(frames, seed).requires_grad_() for seed, (frames, _) in enumerate(rows)]
    symbols = Ragged(torch.tensor([s for _, row in rows for s in row]), torch.tensor([len(row) for _, row in rows]))
    loss = ctc_loss(Ragged.from_rows(pieces), symbols)
    weights = torch.arange(1.0, len(rows) + 1, dtype=torch.float64)
    gradients = torch.autograd.grad(loss @ weights, pieces)
    for (_, row), piece, value, weight, gradient in zip(rows, pieces, loss.detach(), weights, gradients, strict=True):
        expected = -by_enumeration(piece)[tuple(row)]
        (exact,) = torch.autograd.grad(expected * weight, piece)
        torch.testing.assert_close(value, expected.detach(), rtol=64 * EPSILON, atol=64 * EPSILON)
        torch.testing.assert_close(gradient, exact, rtol=0, atol=64 * EPSILON * float(weight))


def test_the_derivative_is_that_of_the_difference_quotient():
    symbols = Ragged.from_rows([[1, 2], [2]])

    def loss(values):
        return ctc_loss(Ragged(values, torch.tensor([4, 3])), symbols)

    assert torch.autograd.gradcheck(loss, drawn(7).requires_grad_())


def test_rows_without_frames_and_without_symbols():
    values = drawn(2).requires_grad_()
    logits = Ragged(values, torch.tensor([0, 2, 0]))
    empty = Ragged(torch.zeros(0, dtype=torch.long), torch.zeros(3, dtype=torch.long))
    loss = ctc_loss(logits, empty)
    blank = -torch.log_softmax(values.detach(), -1)[:, 0].sum()
    expected = torch.stack([torch.zeros_like(blank), blank, torch.zeros_like(blank)])
    torch.testing.assert_close(loss.detach(), expected, rtol=8 * EPSILON, atol=0)
    loss.sum().backward()
    assert values.grad is not None
    none = ctc_loss(Ragged(drawn(0), torch.tensor([0])), Ragged(empty.values, torch.tensor([0])))
    assert none.tolist() == [0]


def test_half_precision_is_summed_in_single():
    logits = Ragged(drawn(4).half(), torch.tensor([4]))
    assert ctc_loss(logits, Ragged.from_rows([[1]])).dtype == torch.float32


def test_frames_needed_count_a_blank_between_repeats_of_one_row_only():
    assert frames_needed(Ragged.from_rows([[1, 2], [2, 2], [2]])).tolist() == [2, 3, 1]


def test_a_transcript_too_long_is_named():
    symbols = Ragged.from_rows([[1, 2], [1, 1, 2]])
    with pytest.raises(DataError, match=r"longer than CTC can align.*b\.wav.*at least 4 frames.*got 3"):
        ctc_loss(Ragged(drawn(6), torch.tensor([3, 3])), symbols, ["a.wav", "b.wav"])
    with pytest.raises(DataError, match="row 1"):
        ctc_loss(Ragged(drawn(6), torch.tensor([3, 3])), symbols)


@pytest.mark.parametrize("wrong", [[[0]], [[3]], [[-1]]])
def test_symbols_the_model_does_not_know_are_refused(wrong):
    with pytest.raises(DataError, match="1 to 2"):
        ctc_loss(Ragged(drawn(4), torch.tensor([4])), Ragged.from_rows(wrong))


def test_what_does_not_fit_is_refused():
    logits = Ragged(drawn(4), torch.tensor([4]))
    with pytest.raises(ShapeError, match="1 rows of symbols"):
        ctc_loss(logits, Ragged.from_rows([[1], [2]]))
    with pytest.raises(DataError, match="whole numbers"):
        ctc_loss(logits, Ragged.from_rows([[1.0]]))
    with pytest.raises(ShapeError, match="frames, features"):
        ctc_loss(Ragged(drawn(4)[:, 0], torch.tensor([4])), Ragged.from_rows([[1]]))


# decoding


def test_greedy_is_the_best_path_whatever_the_pieces():
    logits = drawn(40, scale=3)
    path = tuple(logits.argmax(1).tolist())
    whole, state = greedy(logits)
    assert [heard.symbol for heard in whole] == list(collapsed(path))
    assert all(path[heard.frame] == heard.symbol != ((0, *path)[heard.frame]) for heard in whole)
    found, between = [], None
    for piece in logits.split(3):
        some, between = greedy(piece, between)
        found += some
    assert found == whole
    assert between == state
    assert state.frames == 40


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_gives_every_transcript_its_exact_probability(seed):
    logits = drawn(5, seed)
    expected = by_enumeration(logits)
    search = PrefixBeam(width=1000)
    found = search.found(search.push(torch.log_softmax(logits, -1), search.begin()))
    assert {tuple(h.symbol for h in one.symbols) for one in found} == set(expected)
    for one in found:
        exact = float(expected[tuple(h.symbol for h in one.symbols)])
        assert abs(one.log_probability - exact) <= 64 * EPSILON * abs(exact)
    best = max(expected, key=lambda symbols: float(expected[symbols]))
    assert tuple(h.symbol for h in found[0].symbols) == best


def test_the_beam_adds_up_what_the_best_path_overlooks():
    logs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()  # blank, blank is the best path; "1" has three
    search = PrefixBeam(width=4)
    best = search.found(search.push(logs, search.begin()))[0]
    assert not greedy(logs)[0]
    assert [heard.symbol for heard in best.symbols] == [1]
    assert math.isclose(math.exp(best.log_probability), 0.64, rel_tol=1e-6)


class Alternating:
    """Symbols alternate: a repeat is improbable."""

    def score(self, prefix, symbol):
        self.seen = prefix
        return math.log(0.01 if prefix and prefix[-1] == symbol else 0.99)


@pytest.mark.parametrize(("weight", "bonus"), [(0.7, 0.0), (1.0, 0.5)])
def test_a_scorer_ranks_by_the_weighted_sum(weight, bonus):
    logits, scorer = drawn(5, 3), Alternating()
    expected = by_enumeration(logits)

    def score(symbols):
        language = sum(scorer.score(symbols[:i], symbol) for i, symbol in enumerate(symbols))
        return float(expected[symbols]) + weight * language + bonus * len(symbols)

    search = PrefixBeam(1000, scorer, weight, bonus)
    found = search.found(search.push(torch.log_softmax(logits, -1), search.begin()))
    ranked = sorted(expected, key=score, reverse=True)
    assert [tuple(h.symbol for h in one.symbols) for one in found] == ranked
    assert all(abs(one.score - score(s)) < 1e-12 * abs(score(s)) for one, s in zip(found, ranked, strict=True))


@pytest.mark.parametrize("lag", [None, 6])
def test_the_beam_in_pieces_with_what_is_settled_is_the_beam_at_once(lag):
    logs = torch.log_softmax(drawn(120, scale=3), -1)
    search = PrefixBeam(6, Alternating(), 0.1, lag=lag)
    whole = search.found(search.push(logs, search.begin()))
    told, state = [], search.begin()
    for piece in logs.split(7):
        state = search.push(piece, state)
        some, state = search.settled(state)
        told += some
    assert len(told) > 3
    if lag is not None:
        assert max(map(len, state.prefixes)) <= lag + 2
    rest = search.found(state)
    for one, other in zip(whole, rest, strict=True):
        assert one.symbols == told + other.symbols
        assert one.log_probability == other.log_probability


def test_a_piece_without_frames_changes_nothing():
    none, search = torch.zeros(0, 3), PrefixBeam()
    assert greedy(none) == ([], (0, 0))
    begun = search.begin()
    assert search.push(none, begun) is begun


def test_improbable_symbols_are_left_out_where_asked():
    logs = torch.tensor([[0.5, 0.49, 0.01]]).log()
    search = PrefixBeam(8, least=math.log(0.02))
    assert set(search.push(logs, search.begin()).prefixes) == {(), (1,)}


def test_common_beginning():
    assert common([(1, 2, 3), (1, 2), (1, 2, 4)]) == (1, 2)
    assert common([(1,), (2,)]) == ()
    assert common([(), (2,)]) == ()
    assert common([(1, 2)]) == (1, 2)


def test_what_cannot_be_decoded_is_refused():
    search = PrefixBeam()
    with pytest.raises(ArgumentError, match="positive whole number"):
        PrefixBeam(0)
    with pytest.raises(ShapeError, match="frames, classes"):
        greedy(torch.zeros(3))
    with pytest.raises(NumericsError, match="NaN"):
        search.push(torch.full((1, 2), math.nan), search.begin())
    with pytest.raises(ArgumentError, match="log_softmax"):
        search.push(torch.ones(1, 2), search.begin())
