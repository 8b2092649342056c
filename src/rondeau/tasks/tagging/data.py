"""What a tagger reads: divided sentences, and what it learns from them before the model does."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from rondeau.data.faults import Faults
from rondeau.data.splits import shared, split_rows
from rondeau.data.standard_input import standard_input
from rondeau.data.texts.conll import Sentence, kind_of, opened, read_columns, read_conllu, tagged_files
from rondeau.data.texts.schemes import scheme_of, to_bio
from rondeau.data.texts.tagged import TaggedText, WordCodes
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import ArgumentError, CheckpointError, DataError

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


@dataclass
class Divided:
    """Sentences in three parts; `scheme`: how entities were written, None for tags of another kind."""

    train: TaggedText
    validation: TaggedText
    test: TaggedText
    scheme: str | None
    notes: list[str]


@dataclass
class Prepared:
    """What is learnt before the model is: vocabularies of words (in lower case) and characters, and the tags.

    `vectors`: given ones, a row a word, until the model has them.
    """

    words: Vocabulary
    characters: Vocabulary
    tags: list[str]
    scheme: str | None
    width: int = 20
    vectors: Any = field(default=None, compare=False)

    @property
    def codes(self) -> WordCodes:
        return WordCodes(self.words, self.characters, self.width)

    def to_json(self) -> dict[str, Any]:
        return {
            "words": self.words.to_json(),
            "characters": self.characters.to_json(),
            "tags": self.tags,
            "scheme": self.scheme,
            "width": self.width,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        try:
            words, characters = (Vocabulary.from_json(data[name]) for name in ("words", "characters"))
            return cls(words, characters, list(data["tags"]), data["scheme"], int(data["width"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("what a tagger has prepared is damaged", got=repr(error)) from error


def prepare(train: TaggedText, scheme: str | None, min_count: int, width: int = 20) -> Prepared:
    """Vocabularies and tags of the training part. Raises `DataError` for fewer than two tags."""
    counts, letters = Counter[str](), Counter[str]()
    for word, count in train.word_counts().items():
        counts[word.lower()] += count
        for letter in word:
            letters[letter] += count
    words, characters = Vocabulary.from_counts(counts, min_count), Vocabulary.from_counts(letters)
    tags = sorted(train.tags())
    if len(tags) < 2:
        fix = "Look at --column: which one holds the tags?"
        raise DataError("there is one tag only, and nothing to learn", got=", ".join(tags) or "none", fix=fix)
    return Prepared(words, characters, tags, scheme, width)


def read_file(path: Path, kind: str, column: str | None, faults: Faults) -> Iterator[Sentence]:
    """The tagged sentences of a file; `column`: a name of CoNLL-U, or a number."""
    if kind == "conllu":
        return read_conllu(path, column or "upos", faults)
    number = -1
    if column is not None:
        try:
            number = int(column)
        except ValueError:
            expected = "a number for files of columns, from 0 or from the end: -1"
            raise ArgumentError("column", expected=expected, got=repr(column), where=path) from None
    return read_columns(path, number, faults=faults)


def read_all(path: str | Path, column: str | None, faults: Faults) -> TaggedText:
    """All tagged sentences of a file or folder, whatever parts its files are named for."""
    files = chain.from_iterable(tagged_files(path).values())
    return TaggedText(chain.from_iterable(read_file(file, kind, column, faults) for file, kind in files))


def read_divided(
    path: str | Path, column: str | None, validation: float, test: float, seed: int, faults: Faults
) -> Divided:
    """Sentences and their division.

    Files named for training, development and test in a folder are its division; what is in two of them is told, not
    taken out. Otherwise documents are divided where the files name them, or else sentences; equal ones stay together.
    """
    files = tagged_files(path)
    heaps = {
        part: TaggedText(chain.from_iterable(read_file(file, kind, column, faults) for file, kind in found))
        for part, found in files.items()
    }
    empty = next((part for part, text in heaps.items() if not len(text)), "")
    if empty != "":
        raise DataError("there are no sentences", where=path if empty is None else f"{path}, the {empty} files")
    notes: list[str] = []
    if None in heaps:
        train, held, last = divide(heaps[None], validation, test, seed)
    else:
        names = {part: ", ".join(file.name for file, _ in found) for part, found in files.items()}
        notes.append("divided as the files are named: " + "; ".join(f"{part} {name}" for part, name in names.items()))
        train, last = heaps["train"], heaps["test"]
        if "validation" in heaps:
            held = heaps["validation"]
        else:
            train, held, _ = divide(train, validation or 0.1, 0.0, seed)
        for name, part in (("validation", held), ("test", last)):
            notes += leaks(train, part, name)
    return with_scheme(train, held, last, notes)


def divide(text: TaggedText, validation: float, test: float, seed: int) -> tuple[TaggedText, TaggedText, TaggedText]:
    """By document, or where there are none by the words of the sentence."""
    keys = [one.group if one.group is not None else "\0".join(one.words) for one in text]
    parts = split_rows(keys, validation, test, seed)
    return text.select(parts.train), text.select(parts.validation), text.select(parts.test)


def leaks(train: TaggedText, held: TaggedText, name: str) -> list[str]:
    """What of a held-out part stands word for word in the training part, in a line; none where nothing does."""
    found = set(shared((one.words for one in train), (one.words for one in held)))
    if not found:
        return []
    rows = sum(one.words in found for one in held)
    longest = sorted(found, key=lambda words: (-len(words), words))[:3]
    shown = "; ".join(" ".join(words[:12]) + (" ..." if len(words) > 12 else "") for words in longest)
    share = rows / len(held)
    return [
        f"leakage: {rows:,} of {len(held):,} sentences of the {name} part ({share:.1%}) stand word for word in the "
        f"training part too, the longest: {shown}"
    ]


def with_scheme(train: TaggedText, held: TaggedText, last: TaggedText, notes: list[str]) -> Divided:
    """Entities written in any scheme as BIO."""
    scheme = scheme_of(one.tags for one in train)
    if scheme is not None:
        notes.append(f"the tags are entities, written as {scheme}" + ("" if scheme == "BIO" else "; read as BIO"))
        train, held, last = (part.relabelled(to_bio) for part in (train, held, last))
    return Divided(train, held, last, scheme, notes)


# inputs without tags


def inputs(path: str) -> Iterator[Sentence]:
    """Sentences to be tagged, one after another: CoNLL-U, columns, JSON lines, or text with a sentence on each line.

    Args:
        path: a file, a folder of them, or `-` for standard input, which may hold any of these.

    A JSON line has `words`, a list, or `text`. Text is parted into words and signs. Raises `DataError` for a line that
    is neither.
    """
    if path == "-":
        with standard_input(suffix="") as file:
            for one in inputs(str(file)):
                yield one._replace(place=one.place.removeprefix(f"{file.parent}{os.sep}"))
        return
    place = Path(path)
    if not place.exists():
        raise DataError("there is no such file or folder", where=place)
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file() and p.name[0] != ".")
    for file in files:
        kind = kind_of(file)
        if kind == "conllu":
            yield from read_conllu(file, "")
        elif kind == "columns":
            yield from read_columns(file, None)
        else:
            with opened(file) as raw:
                yield from _lines((_decoded(line, file, n) for n, line in enumerate(raw, 1)), str(file))


def _decoded(line: bytes, file: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError("a line is no UTF-8", where=f"{file}:{number}", fix="Save the file as UTF-8") from error


def _lines(lines: Iterable[str], name: str) -> Iterator[Sentence]:
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("\ufeff")
        place = f"{name}:{number}"
        words = _from_json(text, place) if text.startswith("{") else _WORD.findall(text)
        if words:
            yield Sentence(tuple(words), place=place)


def _from_json(text: str, place: str) -> list[str]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError("a line is no JSON", where=place, got=f"{error.msg}: {text[:60]!r}") from error
    words = record.get("words", record.get("tokens"))
    if isinstance(words, list) and all(isinstance(word, str) and word for word in words):
        return words
    if words is None and isinstance(record.get("text"), str):
        return _WORD.findall(record["text"])
    got = f"the keys {', '.join(map(repr, islice(record, 6)))}"
    raise DataError("a record holds no sentence", expected="words, a list of strings, or text", got=got, where=place)
