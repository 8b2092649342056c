"""Connectionist temporal classification (Graves et al. 2006): a transcript's probability over all its alignments.

A model gives a score for each class at each frame. Class 0 is the blank, symbols count from 1. A path, one class a
frame, stands for the transcript that is left when repeats are drawn together and blanks taken out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from rondeau.errors import DataError, ShapeError
from rondeau.sequence import Ragged

BLANK = 0


def frames_needed(symbols: Ragged) -> Int64[Tensor, " rows"]:
    """The fewest frames each transcript can be aligned with: one a symbol, and a blank between two that are alike.

    >>> frames_needed(Ragged.from_rows([[1, 2, 3], [2, 2, 2]])).tolist()
    [3, 5]
    """
    ids, row = symbols.values.cpu(), symbols.row_index
    repeats = (ids[1:] == ids[:-1]) & (row[1:] == row[:-1])
    return symbols.lengths + torch.zeros_like(symbols.lengths).index_add(0, row[1:], repeats.long())


def check_alignable(frames: Tensor, symbols: Ragged, names: Sequence[str] | None = None) -> None:
    """Raise `DataError`, naming the first row, for transcripts that need more frames than there are.

    Args:
        frames: of each row, int64 `(rows,)`.
        names: what the rows are called, such as their files.
    """
    needed = frames_needed(symbols)
    short = (needed > frames.cpu()).nonzero()
    if not len(short):
        return
    row = int(short[0])
    raise DataError(
        "a transcript is longer than CTC can align with its frames",
        expected=f"at least {int(needed[row])} frames (repeated symbols need a blank between them)",
        got=int(frames[row]),
        where=names[row] if names is not None else f"row {row}",
        fix="Use a smaller stride or hop, or leave it out",
    )


def ctc_loss(logits: Ragged, symbols: Ragged, names: Sequence[str] | None = None) -> Float[Tensor, " rows"]:
    """The negative log-likelihood of each transcript, natural.

    Args:
        logits: scores of the classes at each frame, values `(frames, classes)`; they need not be normalised. Class 0
            is the blank.
        symbols: the transcripts, whole numbers from 1 to classes - 1; a row may be empty.
        names: what rows are called in errors.

    Raises `ShapeError` and `DataError` for what does not fit, and for a transcript longer than its frames can hold: it
    has no probability, and nothing can be learnt from it.

    >>> logits = Ragged.from_rows([torch.zeros(2, 2)])  # four paths, of which three are "1"
    >>> round(float(ctc_loss(logits, Ragged.from_rows([[1]])).exp()), 4)
    1.3333
    """
    check_rows(logits, symbols)
    check_symbols(symbols, logits.values.shape[1], names)
    check_alignable(logits.lengths, symbols, names)
    filled = logits.lengths > 0
    if not bool(filled.all()):  # a row without frames has one path, which is certain; torch wants a frame
        there = filled.nonzero()[:, 0]
        found = logits.values.new_zeros(len(logits))
        if not len(there):
            return found + logits.values.sum()
        return found.index_add(0, there.to(found.device), ctc_loss(logits.select(there), symbols.select(there)))
    # torch's derivative is right for log_softmax before it, and for nothing else: it holds the softmax's own part
    logs = torch.log_softmax(logits.values.float() if logits.dtype.itemsize < 4 else logits.values, -1)
    return F.ctc_loss(
        logits.with_values(logs).pad().transpose(0, 1),
        symbols.values.to(logits.device, torch.long),
        logits.lengths,
        symbols.lengths,
        blank=BLANK,
        reduction="none",
        zero_infinity=False,  # there is none: what cannot be aligned was refused above
    )


def check_rows(outputs: Ragged, symbols: Ragged) -> None:
    """Raise `ShapeError` unless there is a transcript `(symbols,)` for each row of outputs `(frames, features)`."""
    if outputs.values.ndim != 2:
        raise ShapeError("outputs over frames", expected="(frames, features)", got=tuple(outputs.values.shape))
    if symbols.values.ndim != 1 or len(symbols) != len(outputs):
        got = f"{len(symbols)} of values {tuple(symbols.values.shape)}"
        raise ShapeError("the transcripts", expected=f"{len(outputs)} rows of symbols (symbols,)", got=got)


def check_symbols(symbols: Ragged, classes: int, names: Sequence[str] | None = None) -> None:
    """Raise `DataError`, naming row and symbol, unless all are from 1 to classes - 1."""
    values = symbols.values
    if values.is_floating_point() and len(values):
        raise DataError("the symbols of a transcript", expected="whole numbers", got=values.dtype)
    wrong = ((values < 1) | (values >= classes)).nonzero()
    if len(wrong):
        place = int(wrong[0])
        row = int(symbols.row_index[place])
        where = names[row] if names is not None else f"row {row}"
        what = "a symbol that the model does not know"
        raise DataError(what, expected=f"1 to {classes - 1}, 0 being the blank", got=int(values[place]), where=where)
