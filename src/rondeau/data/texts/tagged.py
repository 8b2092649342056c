"""Tagged sentences in little memory, and the batches of ids that a tagger reads."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.buckets import Buckets
from rondeau.data.texts.conll import Sentence
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import DataError
from rondeau.sequence import Ragged
from rondeau.training.batch import Batch
from rondeau.training.source import Source

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
        forms, labels, groups, files = _Names(), _Names(), _Names(), _Names()
        words, tags, lengths, group = array("i"), array("i"), array("q"), array("i")
        file, line = array("i"), array("q")
        for one in sentences:
            words.extend(map(forms.id, one.words))
            tags.extend(map(labels.id, one.tags) if one.tags else [-1] * len(one.words))
            lengths.append(len(one.words))
            group.append(-1 if one.group is None else groups.id(one.group))
            name, _, number = one.place.rpartition(":")
            numbered = number.isdigit()
            file.append(files.id(name if numbered else one.place))
            line.append(int(number) if numbered else -1)
        self.forms, self.labels, self._groups = forms.all, labels.all, groups.all
        self._words, self._tags = np.array(words, np.int32), np.array(tags, np.int32)
        self._offsets = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))]).astype(np.int64)
        self._group, self._files = np.array(group, np.int32), files.all
        self._file, self._line = np.array(file, np.int32), np.array(line, np.int64)
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
            self._place(row),
        )

    def _place(self, row: int) -> str:
        name, line = self._files[self._file[row]], int(self._line[row])
        return name if line < 0 else f"{name}:{line}"

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
        every = np.arange(len(self))
        found = hashlib.blake2b(digest_size=16)
        for names in (self.forms, self.labels):
            found.update("\0".join([*names, ""]).encode("utf-8", "surrogatepass"))
        for numbers in (self.words_of(every), self.tags_of(every), self.lengths):
            found.update(numbers.astype("<i8").tobytes())
        return found.hexdigest()

    def word_counts(self) -> dict[str, int]:
        """How often each word comes, in the order in which they came first."""
        counts = np.bincount(self.words_of(np.arange(len(self))), minlength=len(self.forms))
        return {form: count for form, count in zip(self.forms, counts.tolist(), strict=True) if count}

    def tags(self) -> set[str]:
        """All tags that there are."""
        return {self.labels[i] for i in np.unique(self.tags_of(np.arange(len(self)))).tolist() if i >= 0}


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
        if not forms or not self.width:
            return self.words.encode(one.lower() for one in forms), np.zeros((len(forms), 0), np.int64)
        spelled = np.stack([self.spelled(one) for one in forms])
        return self.words.encode(one.lower() for one in forms), spelled


class TaggedBatches(Source):
    """Batches of sentences of about equal length: words, their characters, and the tags as targets.

    Args:
        text: the sentences, none of them empty.
        codes: the ids of words and characters.
        tags: the id of each tag is its place here; None for inputs without targets.
        batch_size: sentences in a batch.
        training: in another order each epoch, drawn; otherwise as they stand.
        weights: of each tag, what a word that has it counts in the loss (default: the same).

    x is `{"words": Ragged (batch, time), "characters": Ragged (batch, time, width)}` (without the latter where no
    characters are looked at), y a `Ragged` of tags. A tag that
    is not among `tags` weighs nothing. Raises `DataError` where there are no sentences.
    """

    def __init__(
        self,
        text: TaggedText,
        codes: WordCodes,
        tags: Sequence[str] | None,
        batch_size: int,
        training: bool,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.text, self.batch_size, self.training = text, batch_size, training
        words, characters = codes.of(text.forms)
        self._words, self._characters = words, characters.astype(np.int32)
        ids = {tag: i for i, tag in enumerate(tags or ())}
        self._tags = None if tags is None else np.array([ids.get(tag, -1) for tag in text.labels], np.int64)
        self._weights = None if weights is None else np.asarray(weights, np.float32)
        if not len(text):
            raise DataError("there are no sentences", expected="at least one", got=0)
        self._buckets = Buckets(text.lengths, lambda rows: self.batch(rows.numpy()), batch_size)

    def __len__(self) -> int:
        return -(-len(self.text) // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        numbers = self._buckets.numbers(epoch, start, seed) if self.training else self._in_order(start)
        for rows in numbers:
            yield self.batch(rows.numpy())

    def _in_order(self, start: int) -> Iterator[torch.Tensor]:
        yield from torch.split(torch.arange(len(self.text)), self.batch_size)[start:]

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
        counted = (tags >= 0).astype(np.float32)
        if self._weights is not None:
            counted *= self._weights[tags]
        weight = None if (counted == 1).all() else words.with_values(torch.from_numpy(counted))
        return Batch(x, words.with_values(torch.from_numpy(np.maximum(tags, 0))), weight)
