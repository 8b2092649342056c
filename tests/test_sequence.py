from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rondeau.errors import DataError, ShapeError
from rondeau.sequence import Ragged, check_lengths, to_tensor

Rows = list[list[float]]
Mask = list[list[bool]]

ragged_rows = st.lists(st.lists(st.integers(1, 99), max_size=5), min_size=1, max_size=6)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    batch, time = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    return draw(st.lists(st.lists(st.booleans(), min_size=time, max_size=time), min_size=batch, max_size=batch))


def ragged(rows: list[list[int]], features: tuple[int, ...] = ()) -> Ragged:
    """The rows with `features` more axes, along which a value is multiplied by 1, 2, 3, ..."""
    values = torch.tensor([value for row in rows for value in row], dtype=torch.float64)
    for size in features:
        values = values[..., None] * torch.arange(1, size + 1)
    return Ragged(values, torch.tensor([len(row) for row in rows]))


def numbered(mask: Mask) -> tuple[Tensor, Tensor]:
    """A padded tensor in which every step has a number of its own, from 1; and the mask."""
    m = torch.tensor(mask).reshape(len(mask), -1)
    return torch.arange(1, m.numel() + 1).reshape(m.shape), m


def expanded(row: list[int], valid: list[bool], zeros: bool) -> list[int]:
    """Keras's semantics: a masked step repeats the last valid one, zero before the first."""
    out, last = [], 0
    for value, real in zip(row, valid, strict=True):
        last = value if real else last
        out.append(last if real or not zeros else 0)
    return out


@given(ragged_rows, st.lists(st.integers(0, 3), max_size=2).map(tuple))
def test_rows_and_padding_are_the_rows_given(rows: list[list[int]], features: tuple[int, ...]) -> None:
    r = ragged(rows, features)
    assert len(r) == len(rows)
    assert r.shape == (len(rows), None, *features)
    assert [len(row) for row in r.rows()] == [len(row) for row in rows]
    longest = max(len(row) for row in rows)
    padded = r.pad()
    assert padded.shape == (len(rows), longest, *features)
    for i, row in enumerate(r.rows()):
        assert torch.equal(padded[i, : len(row)], row)
        assert not padded[i, len(row) :].any()
    assert torch.equal(r.pad(longest + 2)[:, :longest], padded)
    assert not r.pad(longest + 2)[:, longest:].any()


@given(ragged_rows)
def test_from_padded_undoes_pad(rows: list[list[int]]) -> None:
    r = ragged(rows, (2,))
    padded = r.pad(7)
    for i, row in enumerate(rows):
        padded[i, len(row) :] = 777.0  # what stands in the padding does not matter
    again = Ragged.from_padded(padded, [len(row) for row in rows])
    assert torch.equal(again.values, r.values)
    assert torch.equal(again.lengths, r.lengths)
    assert again.mask is None


@given(masks(), st.booleans())
def test_compress_and_expand_are_keras_semantics(mask: Mask, zeros: bool) -> None:
    padded, m = numbered(mask)
    r = Ragged.compress(padded, m)
    assert r.lengths.tolist() == [sum(row) for row in mask]
    assert [row.tolist() for row in r.rows()] == [
        [value for value, real in zip(row, valid, strict=True) if real]
        for row, valid in zip(padded.tolist(), mask, strict=True)
    ]
    want = [expanded(row, valid, zeros) for row, valid in zip(padded.tolist(), mask, strict=True)]
    assert r.expand(zeros=zeros).tolist() == want


@given(masks())
def test_expanding_after_a_step_by_step_change_changes_each_step(mask: Mask) -> None:
    padded, m = numbered(mask)
    r = Ragged.compress(padded[..., None].double(), m)
    changed = r.with_values(-r.values.expand(-1, 3))
    assert torch.equal(changed.expand(), -r.expand().expand(-1, -1, 3))


@given(masks())
def test_reversing_reverses_each_row_and_twice_changes_nothing(mask: Mask) -> None:
    padded, m = numbered(mask)
    r = Ragged.compress(padded, m)
    back = r.reverse()
    assert [row.tolist() for row in back.rows()] == [row.tolist()[::-1] for row in r.rows()]
    flipped = Ragged.compress(padded.flip(1), m.flip(1))
    assert torch.equal(back.expand(), flipped.expand())
    again = back.reverse()
    assert torch.equal(again.values, r.values)
    assert again.mask is not None
    assert torch.equal(again.mask, m)
    assert torch.equal(r.reversal[r.reversal], torch.arange(len(r.values)))


@given(masks(), st.data())
def test_select_takes_rows_in_the_order_given(mask: Mask, data: st.DataObject) -> None:
    padded, m = numbered(mask)
    batch = len(mask)
    chosen = data.draw(st.lists(st.integers(-batch, batch - 1), max_size=7))
    part = Ragged.compress(padded, m).select(chosen)
    want = Ragged.compress(padded[chosen], m[chosen])
    assert torch.equal(part.values, want.values)
    assert torch.equal(part.lengths, want.lengths)
    assert part.mask is not None
    assert torch.equal(part.mask, m[chosen])


@given(ragged_rows)
def test_last_offsets_and_row_index(rows: list[list[int]]) -> None:
    r = ragged(rows)
    assert r.last().tolist() == [row[-1] if row else 0 for row in rows]
    assert r.row_index.tolist() == [i for i, row in enumerate(rows) for _ in row]
    assert r.offsets.tolist() == [sum(len(row) for row in rows[:i]) for i in range(len(rows))]


def test_gradients_reach_the_values_that_were_used() -> None:
    values = torch.arange(1.0, 7.0, dtype=torch.float64, requires_grad=True)
    r = Ragged(values, torch.tensor([2, 0, 4]))

    def gradient(y: Tensor) -> list[float]:
        return torch.autograd.grad(y.sum(), values)[0].tolist()

    assert gradient(r.pad(9)) == [1] * 6
    assert gradient(r.last()) == [0, 1, 0, 0, 0, 1]
    assert gradient(r.select([2, 2]).values) == [0, 0, 2, 2, 2, 2]
    assert gradient(r.reverse().values * torch.arange(6)) == [1, 0, 5, 4, 3, 2]
    mask = torch.tensor([[True, False, True, False, False], [False] * 5, [True, True, False, True, True]])
    assert gradient(Ragged(values, r.lengths, mask).expand()) == [2, 3, 1, 2, 1, 1]
    padded = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    kept = Ragged.compress(padded, torch.tensor([[True, False, True], [False, False, True]]))
    kept.values.sum().backward()
    assert padded.grad is not None
    assert padded.grad.tolist() == [[1, 0, 1], [0, 0, 1]]


def test_from_rows_of_many_forms() -> None:
    r = Ragged.from_rows([np.array([[1, 2]]), torch.zeros(0), [[3, 4], [5, 6]], np.ones((2, 2))[::-1]])
    assert r.lengths.tolist() == [1, 0, 2, 2]
    assert r.values.tolist() == [[1, 2], [3, 4], [5, 6], [1, 1], [1, 1]]


def test_from_rows_takes_the_common_type() -> None:
    assert Ragged.from_rows([[1, 2], [0.5]]).values.tolist() == [1.0, 2.0, 0.5]
    assert Ragged.from_rows([[], [3]]).dtype == torch.int64  # a row without steps has no say
    assert Ragged.from_rows([np.zeros(2, np.float64), torch.zeros(1)]).dtype == torch.float64
    frozen = np.array([1, 2])
    frozen.flags.writeable = False  # torch would warn
    assert Ragged.from_rows([frozen]).values.tolist() == [1, 2]


def test_rows_of_nothing() -> None:
    r = Ragged.from_rows([[], []])
    assert r.pad().shape == (2, 0)
    assert r.last().tolist() == [0, 0]
    assert r.reverse().values.shape == (0,)
    none = Ragged(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert none.pad().shape == (0, 0, 3)
    assert none.last().shape == (0, 3)
    assert none.rows() == []
    assert check_lengths([], 0, 5).shape == (0,)


def test_to_moves_the_values_alone() -> None:
    r = ragged([[1, 2], [3]]).to(torch.float16)
    assert r.dtype == torch.float16
    assert r.lengths.dtype == torch.int64
    assert r.device == torch.device("cpu")
    assert repr(r) == "Ragged(batch=2, steps=3, features=())"
    again = pickle.loads(pickle.dumps(r))
    assert torch.equal(again.values, r.values)


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((torch.zeros(3), ints(1, 1)), "adding up to 2 and values of shape"),
        ((torch.zeros(()), ints()), "do not fit"),
        ((torch.zeros(0), ints(1, -1)), "a length is negative"),
        ((torch.zeros(2), torch.tensor([1.0, 1.0])), "torch.float32"),
        ((torch.zeros(2), torch.tensor([2], dtype=torch.int32)), "torch.int32"),
        ((torch.zeros(2), ints(2)[None]), "(1, 1)"),
        ((torch.zeros(2), ints(2), torch.tensor([[True, False]])), "expected lengths [1], got [2]"),
        ((torch.zeros(2), ints(2), torch.tensor([True, True])), "the mask has the wrong form"),
        ((torch.zeros(2), ints(2), torch.ones(1, 2)), "(1, 2) torch.float32"),
    ],
)
def test_parts_that_do_not_fit(arguments: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        Ragged(*arguments)
    assert said in str(caught.value)


def test_rows_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="at least one row"):
        Ragged.from_rows([])
    with pytest.raises(ShapeError, match=r"at row 2\): expected \(length, 3\), got \(2, 4\)"):
        Ragged.from_rows([torch.zeros(1, 3), torch.zeros(0, 7), torch.zeros(2, 4)])
    with pytest.raises(ShapeError, match="at row 1"):
        Ragged.from_rows([torch.zeros(2), torch.tensor(1.0)])
    with pytest.raises(DataError, match="at row 1"):
        Ragged.from_rows([[1], ["a"]])
    with pytest.raises(DataError, match="no array of numbers"):
        to_tensor([[1], [2, 3]])


def test_padding_and_masks_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="expected at least 3, got 2"):
        ragged([[1, 2, 3]]).pad(2)
    with pytest.raises(ShapeError, match=r"expected \(2, 3\), got \(2, 4\)"):
        Ragged.compress(torch.zeros(2, 3, 5), torch.ones(2, 4))
    with pytest.raises(ShapeError, match=r"\(batch, time, ...\), got \(3,\)"):
        Ragged.compress(torch.zeros(3), torch.ones(3))
    with pytest.raises(ShapeError, match=r"\(batch, time, ...\), got \(3,\)"):
        Ragged.from_padded(torch.zeros(3), [1, 1, 1])
    with pytest.raises(DataError, match="adding up to 3"):
        ragged([[1, 2, 3]]).with_values(torch.zeros(2))


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ([1, 2], r"expected \(3,\) integers"),
        ([[1, 2, 3]], r"got \(1, 3\)"),
        ([1.0, 2.0, 3.0], "torch.float32"),
        ([True, False, True], "torch.bool"),
        ([0, 5, 3], r"at row 1\): expected 0 to 4, got 5"),
        ([0, 4, -1], r"at row 2\): expected 0 to 4, got -1"),
        (["one", "two", "three"], "at the lengths"),
    ],
)
def test_lengths_that_do_not_fit(lengths: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Ragged.from_padded(torch.zeros(3, 4), lengths)


@pytest.mark.parametrize(("rows", "said"), [([3], "got 3"), ([-4], "got -4"), ([0.5], "float32"), ([[0]], r"\(1, 1\)")])
def test_rows_that_are_not_there(rows: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ragged([[1], [2], [3]]).select(rows)


def test_lengths_of_many_forms() -> None:
    for lengths in ([2, 0], (2, 0), np.array([2, 0], np.int32), torch.tensor([2, 0], dtype=torch.uint8)):
        r = Ragged.from_padded(torch.ones(2, 3), lengths)
        assert r.lengths.tolist() == [2, 0]
        assert r.lengths.dtype == torch.int64
