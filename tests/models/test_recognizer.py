"""The recogniser: stacking and encoding in pieces and at once, learning by either head, saved and loaded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rondeau.errors import ArgumentError, DataError
from rondeau.heads.ctc_decoding import greedy
from rondeau.heads.transducer_decoding import greedy as greedy_writing
from rondeau.models import Recognizer, load
from rondeau.models.stacking import Stacking, StackingStream
from rondeau.sequence import Ragged
from rondeau.training import optimizers

EPSILON = torch.finfo(torch.float32).eps


@pytest.mark.parametrize("sizes", [(6, 3), (3, 3), (2, 5), (7, 2), (1, 1), (4, 3)])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 9, 30])
def test_stacked_in_pieces_is_stacked_at_once(sizes, count):
    stacking = Stacking(*sizes)
    frames = torch.arange(1.0, 2 * count + 1).reshape(count, 2)
    other = torch.ones(7, 2)
    whole = stacking(Ragged.from_rows([other, frames])).rows()[1]
    window, stride = sizes
    padded = torch.cat([torch.zeros(window, 2), frames, torch.zeros(stride, 2)])
    assert len(whole) == -(-count // stride)
    for i, step in enumerate(whole):  # the definition, with `window` zeros in front
        end = window + (i + 1) * stride
        assert torch.equal(step.reshape(window, 2), padded[end - window : end])
    for size in (1, 2, 7):
        stream = StackingStream(stacking, 2)
        pieces = [stream.push(piece.numpy()) for piece in frames.split(size)] if count else []
        found = np.concatenate([*pieces, stream.finish()])
        np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("head", "cell"), [("ctc", "lstm"), ("transducer", "gru")])
def test_heard_in_pieces_is_heard_at_once(head, cell):
    model = Recognizer(5, 4, head, cell, units=8, depth=2, dropout=0.3, joint=6, written=6)
    frames = torch.randn(31, 5)
    whole = model.encode(Ragged.from_rows([frames])).values
    stream = model.listen()
    pieces = [stream.push(piece.numpy()) for piece in frames.split(4)]
    found = torch.cat([*pieces, stream.finish()])
    assert found.shape == whole.shape == (11, 4 if head == "ctc" else 8)
    torch.testing.assert_close(found, whole, rtol=0, atol=32 * EPSILON)
    assert "frames" in stream.state
    assert model.training  # as it was


@pytest.mark.parametrize("both", [False, True])
def test_in_training_rows_begin_in_the_middle_of_others(both):
    frames = Ragged(torch.randn(37, 5), torch.tensor([7, 25, 5]))
    model = Recognizer(5, 4, units=8, depth=1, bidirectional=both, window=4, stride=3)
    own = model._encoded(frames)
    assert own.lengths.tolist() == [3, 9, 2]
    first, second, third = frames.rows()
    expected = []
    for row, other, count in ((first, third, 3), (second, first, 6), (third, second, 24)):
        behind = other[: count if both else 0]
        wide = torch.cat([other[len(other) - count :], row, behind])
        expected.append(model.eval()._encoded(Ragged.from_rows([wide])).values[count // 3 :][: -(-len(row) // 3)])
    torch.testing.assert_close(own.values, torch.cat(expected), rtol=0, atol=32 * EPSILON)


@pytest.mark.parametrize("head", ["ctc", "transducer"])
def test_it_learns_what_is_said_and_is_saved(head, tmp_path):
    torch.manual_seed(0)
    symbols = [[1, 2, 3], [3, 3, 1], [2, 1]]
    rows = [torch.eye(4)[torch.tensor([0, *(x for s in row for x in (s, s, s, 0, 0, 0))])] for row in symbols]
    x, y = Ragged.from_rows(rows), Ragged.from_rows(symbols)
    model = Recognizer(4, 4, head, units=16, depth=1, joint=16, written=16)
    model.compile(optimizers.Adam(0.02), "mae")
    model.fit([x, y], torch.zeros(3, 1), epochs=80, batch_size=3, verbose=0)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert torch.equal(again([x, y]), model([x, y]))
    for piece, expected in zip(again.encode(x).rows(), symbols, strict=True):
        heard = greedy(piece)[0] if again.transducer is None else greedy_writing(again.transducer, piece)[0]
        assert [one.symbol for one in heard] == expected


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="head"):
        Recognizer(4, 3, "attention")
    both = Recognizer(4, 3, units=4, bidirectional=True)
    with pytest.raises(ArgumentError, match="reads both ways"):
        both.listen()
    with pytest.raises(DataError, match=r"\[frames, symbols\]"):
        both(torch.zeros(1, 5, 4))
    with pytest.raises(DataError, match=r"longer than CTC can align.*row 0.*at least 3 frames.*got 2"):
        both([Ragged.from_rows([torch.zeros(6, 4)]), Ragged.from_rows([[1, 1]])])
