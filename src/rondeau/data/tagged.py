"""Tagged sentences in little memory, and the batches of ids that a tagger reads."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.conll import Sentence
from rondeau.data.vocabulary import Vocabulary
from rondeau.errors import DataError
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch
from rondeau.training.source import Source, parts_of

Ids = NDArray[np.int64]


class _Names:
    """Strings and their numbers, in the order in which they came."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._ids: dict[str, int] = {}

    def id(self, name: str) -> int:
        found = self._ids.setdefault(name, len(self.all))
        if found == len(self.all):
            self.all.append(name)
        return found


class TaggedText(Sequence[Sentence]):
    """Sentences, each a `Sentence` when asked for; a word costs 8 bytes, and each distinct one is held once.

    Args:
        sentences: read once, one after another.

    Attributes:
        forms, labels: the distinct words and tags, in the order in which they came; `select` keeps them.

    >>> text = TaggedText([Sentence(("a", "b"), ("X", "Y")), Sentence(("b",), ("Y",))])
    >>> text.forms, text[1].words, text.tokens
    (['a', 'b'], ('b',), 3)
    """

    def __init__(self, sentences: Iterable[Sentence]) -> None:
        forms, labels, groups = _Names(), _Names(), _Names()
        words, tags, lengths, group, places = array("i"), array("i"), array("q"), array("i"), []
        for one in sentences:
            words.extend(map(forms.id, one.words))
            tags.extend(map(labels.id, one.tags) if one.tags else [-1] * len(one.words))
            lengths.append(len(one.words))
            group.append(-1 if one.group is None else groups.id(one.group))
            places.append(one.place)
        self.forms, self.labels, self._groups = forms.all, labels.all, groups.all
        self._words, self._tags = np.array(words, np.int32), np.array(tags, np.int32)
        self._offsets = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)
        self._group, self._places = np.array(group, np.int32), places
        self.rows: Ids = np.arange(len(lengths))

    def select(self, rows: Any) -> TaggedText:
        """Some of the sentences, by their numbers here."""
        found = object.__new__(TaggedText)
        found.__dict__.update(self.__dict__)
        found.rows = self.rows[np.asarray(rows, np.int64)]
        return found

    def relabelled(self, change: Callable[[Sequence[str]], Sequence[str]]) -> TaggedText:
        """The same sentences with `change` of the tags of each."""
        labels = _Names()
        tags = np.empty_like(self._tags)
        for begin, end in zip(self._offsets[:-1].tolist(), self._offsets[1:].tolist(), strict=True):
            given = self._tags[begin:end].tolist()
            changed = [-1] * len(given) if -1 in given else map(labels.id, change([self.labels[i] for i in given]))
            tags[begin:end] = list(changed)
        found = object.__new__(TaggedText)
        found.__dict__.update(self.__dict__, labels=labels.all, _tags=tags)
        return found

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sentence: ...
    @overload
    def __getitem__(self, index: slice) -> TaggedText: ...
    def __getitem__(self, index: int | slice) -> Sentence | TaggedText:
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        row = int(self.rows[index])
        begin, end = self._offsets[row : row + 2].tolist()
        tags = self._tags[begin:end].tolist()
        group = int(self._group[row])
        return Sentence(
            tuple(self.forms[i] for i in self._words[begin:end].tolist()),
            tuple(self.labels[i] for i in tags) if tags and tags[0] >= 0 else (),
            None if group < 0 else self._groups[group],
            self._places[row],
        )

    @property
    def lengths(self) -> Ids:
        """Words of each sentence."""
        return self._offsets[self.rows + 1] - self._offsets[self.rows]

    @property
    def tokens(self) -> int:
        """Words of all sentences."""
        return int(self.lengths.sum())

    def places_of(self, rows: Ids) -> Ids:
        """Where the words of these sentences stand among all words."""
        sizes = self.lengths[rows]
        starts = self._offsets[self.rows[rows]]
        ends = np.cumsum(sizes)
        found: Ids = np.arange(int(sizes.sum())) + np.repeat(starts - (ends - sizes), sizes)
        return found

    def words_of(self, rows: Ids) -> Ids:
        """The numbers in `forms` of the words of these sentences, one after another."""
        return self._words[self.places_of(rows)].astype(np.int64)

    def tags_of(self, rows: Ids) -> Ids:
        """The numbers in `labels` of the tags of these sentences; -1 where there are none."""
        return self._tags[self.places_of(rows)].astype(np.int64)

    def digest(self) -> str:
        """Tells one collection from another."""
        found = hashlib.blake2b(digest_size=16)
        for one in self:
            found.update(repr((one.words, one.tags)).encode("utf-8", "surrogatepass"))
        return found.hexdigest()


class WordCodes:
    """The ids of words, and of their characters.

    Args:
        words: of lower-cased words.
        characters: of single characters.
        width: characters of a word that are looked at; of a longer one the first and the last half. 0 for none.
    """

    def __init__(self, words: Vocabulary, characters: Vocabulary, width: int = 20) -> None:
        self.words, self.characters, self.width = words, characters, width

    def spelled(self, word: str) -> Ids:
        """The ids of a word's characters, `(width,)`, padded with 0."""
        half = self.width // 2
        cut = word if len(word) <= self.width else word[:half] + word[-(self.width - half) :]
        found = np.zeros(self.width, np.int64)
        found[: len(cut)] = self.characters.encode(cut)
        return found

    def of(self, forms: Sequence[str]) -> tuple[Ids, Ids]:
        """Ids of words `(forms,)`, and of their characters `(forms, width)`."""
        spelled = np.stack([self.spelled(one) for one in forms]) if forms else np.zeros((0, self.width), np.int64)
        return self.words.encode(one.lower() for one in forms), spelled


class TaggedBatches(Source):
    """Batches of sentences of about equal length: words, their characters, and the tags as targets.

    Args:
        text: the sentences, none of them empty.
        codes: the ids of words and characters.
        tags: the id of each tag is its place here; None for inputs without targets.
        batch_size: sentences in a batch.
        training: in another order each epoch, drawn; otherwise as they stand.

    x is `{"words": Ragged (batch, time), "characters": Ragged (batch, time, width)}` (without the latter where no
    characters are looked at), y a `Ragged` of tags. A tag that
    is not among `tags` weighs nothing. Raises `DataError` where there are no sentences.
    """

    _POOL = 40  # batches whose sentences are sorted by length among themselves

    def __init__(
        self, text: TaggedText, codes: WordCodes, tags: Sequence[str] | None, batch_size: int, training: bool
    ) -> None:
        self.text, self.batch_size, self.training = text, batch_size, training
        words, characters = codes.of(text.forms)
        self._words, self._characters = words, characters.astype(np.int32)
        ids = {tag: i for i, tag in enumerate(tags or ())}
        self._tags = None if tags is None else np.array([ids.get(tag, -1) for tag in text.labels], np.int64)
        if not len(text):
            raise DataError("there are no sentences", expected="at least one", got=0)

    def __len__(self) -> int:
        return -(-len(self.text) // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        for rows in self._parts(epoch, seed)[start:]:
            yield self.batch(rows)

    def _parts(self, epoch: int, seed: int) -> list[Ids]:
        if not self.training:
            return [part.numpy() for part in parts_of(len(self.text), self.batch_size, False, epoch, seed)]
        lengths = self.text.lengths
        parts: list[Ids] = []
        for drawn in parts_of(len(self.text), self._POOL * self.batch_size, True, epoch, seed):
            pool = drawn.numpy()
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            parts += [pool[i : i + self.batch_size] for i in range(0, len(pool), self.batch_size)]
        order = parts_of(len(parts), len(parts), True, epoch, seed + 1)[0]
        return [parts[i] for i in order.tolist()]

    def batch(self, rows: Ids) -> Batch:
        """The sentences of these numbers."""
        lengths = torch.from_numpy(self.text.lengths[rows])
        forms = self.text.words_of(rows)
        words = Ragged(torch.from_numpy(self._words[forms]), lengths)
        x = {"words": words}
        if self._characters.shape[1]:
            x["characters"] = words.with_values(torch.from_numpy(self._characters[forms]).long())
        if self._tags is None:
            return Batch(x)
        tags = self._tags[self.text.tags_of(rows)]
        weight = None if (tags >= 0).all() else words.with_values(torch.from_numpy((tags >= 0).astype(np.float32)))
        return Batch(x, words.with_values(torch.from_numpy(np.maximum(tags, 0))), weight)
