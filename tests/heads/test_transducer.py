"""The transducer: its loss in slices, its decoders against all transcripts, in pieces and at once."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from rondeau.errors import ArgumentError, DataError, NumericsError, ShapeError
from rondeau.heads.lattice import log_likelihood
from rondeau.heads.transducer import Transducer
from rondeau.heads.transducer_decoding import TransducerBeam, greedy
from rondeau.sequence import Ragged

EPSILON = torch.finfo(torch.float64).eps
FEATURES, CLASSES = 4, 3


def made(cell: str = "lstm", scale: float = 3.0, **options) -> Transducer:
    head = Transducer(CLASSES, joint=6, cell=cell, units=5, embedding_dim=4, **options)
    head.build_for((None, None, FEATURES))
    with torch.no_grad():
        for weight in head.parameters():
            weight.copy_(scale * torch.randn_like(weight) / weight.shape[0] ** 0.5)
    return head.double().eval()


def frames(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nodes(head: Transducer, read: torch.Tensor, symbols: list[int]) -> torch.Tensor:
    """Log-probabilities at all nodes, `(frames, symbols + 1, classes)`, one symbol written after another."""
    written = head.begin()
    columns = [written.features]
    for symbol in symbols:
        written = head.write(torch.tensor([symbol]), written.state)
        columns.append(written.features)
    logits = torch.stack([head.join(head.read(read), column) for column in columns], 1)
    return torch.log_softmax(logits, -1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_loss_is_that_of_the_nodes_one_by_one(cell):
    head = made(cell)
    rows, written = [frames(4), frames(2, 1), frames(3, 2)], [[1, 2, 1], [2], []]
    symbols = Ragged(torch.tensor([s for row in written for s in row]), torch.tensor([3, 1, 0]))
    loss = head(Ragged.from_rows(rows), symbols)
    for row, ids, value in zip(rows, written, loss.detach(), strict=True):
        logs = nodes(head, row, ids).detach()
        emit = torch.stack([logs[:, u, symbol] for u, symbol in enumerate(ids)], 1) if ids else logs[:, :0, 0]
        sizes = torch.tensor([len(row)]), torch.tensor([len(ids)])
        expected = -log_likelihood(logs[None, :, :, 0], emit[None], *sizes)[0]
        torch.testing.assert_close(value, expected, rtol=64 * EPSILON, atol=0)


def test_slices_change_neither_loss_nor_gradient():
    whole, sliced = made(), made(most_nodes=7)
    sliced.load_state_dict(whole.state_dict())
    x, y = Ragged.from_rows([frames(6), frames(3, 1)]), Ragged.from_rows([[1, 2, 2], [2]])
    gradients = []
    for head in (whole, sliced):
        loss = head(x, y)
        gradients.append((loss.detach(), *torch.autograd.grad(loss.sum(), list(head.parameters()))))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1024 * EPSILON, atol=1024 * EPSILON)


def test_slices_keep_no_joint_features():
    kept = []
    for most in (1 << 16, 16):
        head = made(most_nodes=most)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: (s.append(t.numel()), t)[1], lambda t: t):
            loss = head(Ragged.from_rows([frames(40)]), Ragged.from_rows([[1, 2] * 10]))
        assert bool(loss.isfinite().all())
        kept.append(max(sizes))
    joint_features = 40 * 21 * 6
    assert kept[0] == joint_features
    assert kept[1] < joint_features / 2


def test_the_derivative_is_that_of_the_difference_quotient():
    head = made(scale=1.0)
    y = Ragged.from_rows([[1, 2], [2]])

    def loss(values):
        return head(Ragged(values, torch.tensor([3, 2])), y)

    assert torch.autograd.gradcheck(loss, frames(5).requires_grad_())


def test_a_wide_beam_gives_every_transcript_its_exact_probability():
    head, x = made(), frames(3)
    search = TransducerBeam(head, width=10_000, most=3)
    found = search.found(search.push(x, search.begin()))
    exact = {tuple(h.symbol for h in one.symbols): one.log_probability for one in found}
    for length in range(4):
        for symbols in product((1, 2), repeat=length):
            y = Ragged(torch.tensor(symbols, dtype=torch.long), torch.tensor([length]))
            expected = -float(head(Ragged.from_rows([x]), y).detach())
            assert abs(exact[symbols] - expected) <= 256 * EPSILON * abs(expected)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


class Fond:
    """Likes symbol 2."""

    def score(self, prefix, symbol):
        return -0.1 if symbol == 2 else -2.0


def test_a_scorer_and_a_bonus_are_added_to_the_score():
    head, x = made(), frames(2)
    plain, search = (TransducerBeam(head, 10_000, *more) for more in ((), (Fond(), 0.5, 0.25)))
    totals = {tuple(h.symbol for h in one.symbols): one.score for one in plain.found(plain.push(x, plain.begin()))}
    for one in search.found(search.push(x, search.begin())):
        symbols = tuple(h.symbol for h in one.symbols)
        expected = totals[symbols] + sum(0.5 * Fond().score((), s) + 0.25 for s in symbols)
        assert abs(one.score - expected) <= 256 * EPSILON * abs(expected)


def test_greedy_takes_the_likeliest_at_each_node_whatever_the_pieces():
    head, x = made(), frames(30)
    whole, state = greedy(head, x, most=2)
    assert len(whole) > 5
    assert len({heard.symbol for heard in whole}) == 2
    logs = nodes(head, x, [heard.symbol for heard in whole])
    u = 0
    for t in range(30):
        for _ in range(2):
            best = int(logs[t, u].argmax())
            if best == 0:
                break
            assert whole[u] == (best, t)
            u += 1
    assert u == len(whole)
    found, between = [], None
    for piece in x.split(4):
        some, between = greedy(head, piece, between, most=2)
        found += some
    assert found == whole
    torch.testing.assert_close(between.written.features, state.written.features, rtol=0, atol=0)


@pytest.mark.parametrize("lag", [None, 3])
def test_the_beam_in_pieces_with_what_is_settled_is_the_beam_at_once(lag):
    head, x = made(scale=4.0), frames(40)
    search = TransducerBeam(head, 4, Fond(), 0.1, lag=lag)
    whole = search.found(search.push(x, search.begin()))
    told, state = [], search.begin()
    for piece in x.split(3):
        state = search.push(piece, state)
        some, state = search.settled(state)
        told += some
    rest = search.found(state)
    assert len(told) > 3
    for one, other in zip(whole, rest, strict=True):
        assert one.symbols == told + other.symbols
        assert abs(one.log_probability - other.log_probability) <= 64 * EPSILON * abs(one.log_probability)


def test_a_piece_without_frames_changes_nothing():
    head, none = made(), frames(0)
    found, state = greedy(head, none)
    assert not found
    assert state.frames == 0
    search = TransducerBeam(head)
    begun = search.begin()
    assert search.push(none, begun) is begun


def test_a_model_that_learns_writes_what_it_was_shown():
    torch.manual_seed(1)
    head = Transducer(4, joint=16, units=8, embedding_dim=4)
    x = torch.eye(4)[[0, 1, 0, 2, 2, 0, 3, 0]]
    y = Ragged.from_rows([[1, 2, 3]])
    head(Ragged.from_rows([x]), y)
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(80):
        optimizer.zero_grad()
        loss = head(Ragged.from_rows([x]), y)
        loss.sum().backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
    head.eval()
    assert [heard.symbol for heard in greedy(head, x)[0]] == [1, 2, 3]
    search = TransducerBeam(head, least=-7.0)
    assert [heard.symbol for heard in search.found(search.push(x, search.begin()))[0].symbols] == [1, 2, 3]


def test_what_does_not_fit_is_refused():
    head = made()
    x = Ragged.from_rows([frames(3)])
    with pytest.raises(DataError, match="1 to 2"):
        head(x, Ragged.from_rows([[3]]))
    with pytest.raises(DataError, match=r"frames \(at row 1\)"):
        head(Ragged(frames(3), torch.tensor([3, 0])), Ragged.from_rows([[1], [1]]))
    with pytest.raises(ArgumentError, match="cell"):
        Transducer(3, cell="none")
    with pytest.raises(ShapeError, match="frames, features"):
        greedy(head, frames(3)[0])
    with pytest.raises(NumericsError, match="NaN"):
        greedy(head, frames(3) * torch.nan)
    with pytest.raises(ArgumentError, match="width"):
        TransducerBeam(head, 0)
