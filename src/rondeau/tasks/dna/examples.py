"""Sequences by number, some of a store's, and as the batches a network reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.dna.records import SequenceRecord
from rondeau.data.dna.store import SequenceStore, ragged
from rondeau.sequence import Ragged
from rondeau.tasks.dna.reading import Reading

Rows = NDArray[np.int64]
_AT_ONCE = 256  # sequences that are answered at once, at most


class Sequences(Sequence[SequenceRecord]):
    """Some sequences of a store, by their numbers there (default: all)."""

    def __init__(self, store: SequenceStore, rows: Any = None) -> None:
        self.store = store
        self.rows: Rows = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, number: int) -> SequenceRecord: ...
    @overload
    def __getitem__(self, number: slice) -> Sequences: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return Sequences(self.store, self.rows[number])
        row, store = int(self.rows[number]), self.store
        quality = store.read_quality(row) if store.qualities else None
        tags = store.read_tags(row).tobytes() if store.tagged else None
        return SequenceRecord(
            store.id(row),
            store.text(row).encode(),
            quality=quality,
            label=store.labels[row],
            group=store.groups[row],
            tags=tags,
            where=store.where(row),
        )

    @property
    def lengths(self) -> Rows:
        """Letters of each."""
        return self.store.lengths[self.rows]

    def labels(self) -> list[str | None]:
        """The class of each."""
        return [self.store.labels[row] for row in self.rows.tolist()]

    def groups(self) -> list[str | None]:
        """What each belongs to."""
        return [self.store.groups[row] for row in self.rows.tolist()]


def steps_of(reading: Reading, lengths: Rows) -> Rows:
    """Steps that sequences of these lengths have for a network."""
    return np.maximum(lengths - reading.kmer + 1, 1)


def inputs_of(sequences: Sequences, reading: Reading, rows: Any, reverse: Any = None, length: int | None = None) -> Any:
    """What a network reads of some sequences, `Ragged`, or a tensor where all have one `length`.

    Args:
        rows: numbers among `sequences`; reverse: of each whether its other strand is read.
    """
    store, given = sequences.store, sequences.rows[np.asarray(rows, np.int64)].tolist()
    turned = [False] * len(given) if reverse is None else list(reverse)
    codes = [store.read(row) for row in given]
    if any(turned):
        flipped = store.alphabet.reverse_complement
        codes = [flipped(own) if turn else own for own, turn in zip(codes, turned, strict=True)]
    ids = _together([reading.ids(own) for own in codes], length, torch.int64)
    if not reading.quality:
        return ids
    quality = [store.read_quality(row) for row in given]
    quality = [own[::-1] if turn else own for own, turn in zip(quality, turned, strict=True)]
    return {"sequence": ids, "quality": _together([reading.right(own) for own in quality], length, torch.float32)}


def _together(rows: list[Any], length: int | None, dtype: torch.dtype) -> Ragged | Tensor:
    return ragged(rows, dtype) if length is None else torch.from_numpy(np.stack(rows)).to(dtype)


def outputs_of(model: Any, sequences: Sequences, reading: Reading, length: int | None) -> Any:
    """What a model answers to each sequence, in their order: an array, or a list of one for each."""
    lengths = steps_of(reading, sequences.lengths)

    def make(rows: Tensor) -> Any:
        return inputs_of(sequences, reading, rows.numpy(), length=length)

    source = Buckets(lengths, make, _AT_ONCE, shuffle=False)
    order = torch.cat(list(source.numbers())).numpy()
    given = model.predict(source)
    if isinstance(given, np.ndarray):
        found = np.empty_like(given)
        found[order] = given
        return found
    rows: list[Any] = [None] * len(order)
    for place, own in zip(order.tolist(), given, strict=True):
        rows[place] = own
    return rows
