"""Many documents without holding them, and as the ids a model reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.disk.rows_of_ids import StoredIds
from rondeau.data.disk.stored import Stored, Words
from rondeau.data.progress import progress
from rondeau.data.texts.documents import Document
from rondeau.data.texts.segment import Segmenter
from rondeau.data.texts.vocabulary import UNKNOWN, Vocabulary
from rondeau.errors import CheckpointError
from rondeau.sequence import Ragged


class DocumentStore:
    """Documents, their texts in a `Stored` file; of labels, groups and parts each word is kept once."""

    def __init__(self) -> None:
        self.texts = Stored()
        self.labels, self.groups, self.parts = Words(), Words(), Words()

    def add(self, document: Document) -> None:
        """Append a document."""
        record = f"{document.where}\0{document.text}".encode("utf-8", "surrogatepass")
        self.texts.add(record)
        self.labels.append(document.label)
        self.groups.append(document.group)
        self.parts.append(document.part)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> Document:
        where, _, text = self.texts[number].decode("utf-8", "surrogatepass").partition("\0")
        return Document(text, self.labels[number], self.groups[number], self.parts[number], where)


class Documents(Sequence[Document]):
    """Some documents of a store, by their numbers; their ids are made once and kept in a file, too."""

    def __init__(self, store: Any, rows: Any = None) -> None:
        self.store = store
        self.rows = np.arange(len(store)) if rows is None else np.asarray(rows, np.int64)
        self._encoded: tuple[Any, Encoded] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> Documents: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return Documents(self.store, self.rows[number])
        return self.store[int(self.rows[number])]

    def __iter__(self) -> Iterator[Document]:
        return (self.store[row] for row in self.rows.tolist())

    def groups(self) -> list[str | None]:
        """What each belongs to."""
        return [self.store.groups[row] for row in self.rows.tolist()]

    def encoded(self, reading: Reading) -> Encoded:
        """Their ids as a model reads them."""
        if self._encoded is None or self._encoded[0] is not reading:
            texts = (document.text for document in progress(self, "splitting texts", unit="documents"))
            self._encoded = reading, Encoded(reading, texts)
        return self._encoded[1]


@dataclass(frozen=True)
class Reading:
    """How a text becomes ids: tokens, their vocabulary, and how many are read of a long one."""

    segmenter: Segmenter
    vocabulary: Vocabulary
    longest: int

    def tokens(self, text: str) -> list[str]:
        """The tokens that are read of a text: of one that is too long the first half and the last."""
        tokens = self.segmenter.split(text)
        if len(tokens) <= self.longest:
            return tokens
        end = self.longest // 2
        return tokens[: self.longest - end] + tokens[len(tokens) - end :]

    def ids(self, text: str) -> NDArray[np.int64]:
        """The ids of a text, `(tokens,)`."""
        return self.vocabulary.encode(self.tokens(text))

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        parts = {"segmenter": self.segmenter.to_json(), "vocabulary": self.vocabulary.to_json()}
        return {**parts, "longest": self.longest}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Reading:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            parts = data["segmenter"], data["vocabulary"], int(data["longest"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("how the texts are read is damaged", got=error) from error
        return cls(Segmenter.from_json(parts[0]), Vocabulary.from_json(parts[1]), parts[2])


class Encoded:
    """The ids of many texts, in a file.

    Attributes: `lengths`, tokens of each text, `(texts,)`; `unknown`, how many of all tokens are not in the vocabulary.
    """

    def __init__(self, reading: Reading, texts: Iterable[str]) -> None:
        self.unknown = 0
        self._ids = StoredIds(map(self._counted, map(reading.ids, texts)))
        self.lengths = self._ids.lengths

    def _counted(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        self.unknown += int((ids == UNKNOWN).sum())
        return ids

    def ids(self, number: int) -> NDArray[np.int64]:
        """The ids of one text."""
        return self._ids[number]

    def rows(self, numbers: Tensor) -> Ragged:
        """Some texts as a batch, in the order asked for."""
        return self._ids.batch(numbers.tolist())
