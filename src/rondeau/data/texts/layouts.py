"""Where the classes of labelled texts stand: in folders, in files, or in a table's column."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.tables.rows import TABLES, Head, read_head
from rondeau.data.texts.text_lines import stem_of, suffix_of
from rondeau.errors import ArgumentError, DataError

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
TEXT_NAMES = (
    *("text", "document", "review", "sentence", "content", "body", "comment", "message", "tweet", "utterance", "post"),
    *("phrase", "question", "description", "article", "abstract", "reviewtext", "review_text", "title", "headline"),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "sentiment", "target", "polarity", "intent", "emotion", "topic", "tag"),
    *("y", "genre", "stars", "rating", "score", "is_spam", "spam", "toxic", "language", "lang"),
    *("kind", "mood", "type"),
)
_NUMBERS = {*map(str, range(20))}
_CLASS_WORDS = {
    *("pos", "neg", "positive", "negative", "neutral", "spam", "ham", "true", "false", "yes", "no", "fake", "real"),
    *_NUMBERS,
}
_NOT_DATA = ("readme", "license", "licence", "copying", "changelog", "citation", "notice")
_CLASSES = 20  # of a column of classes whose name does not say so, where there are others that could be
_MOST_CLASSES = 1000
_WORDS = 3  # in a text, on average; columns of shorter ones are names or codes


class Place(NamedTuple):
    """A file of texts.

    `kind`: 'document' (the file is one), 'lines' (each line is one) or 'table'; `label` where the place says it,
    `part`: 'train', 'validation' or 'test' where the data come divided.
    """

    path: Path
    kind: str
    label: str | None = None
    part: str | None = None


class Columns(NamedTuple):
    """Which column of a table holds what, and in words why these were taken."""

    text: str
    label: str
    reason: str


@dataclass(frozen=True)
class Layout:
    """All places below a path, and in words how they were understood."""

    places: tuple[Place, ...]
    reason: str

    @property
    def kind(self) -> str:
        """That of all places."""
        return self.places[0].kind


def find_layout(path: str | os.PathLike[str]) -> Layout:
    """How labelled texts lie at a path; only names are looked at.

    A table; a folder of tables; a folder with a folder for each class and a file for each document; a folder with a
    file for each class and a document on each line; or a folder with these below `train`, `validation` and `test`.
    Raises `DataError` for anything else, saying what would be understood.
    """
    root = Path(path)
    if not os.fspath(path) or not root.exists():
        raise DataError("no such file or folder", expected="labelled texts", got=os.fspath(path) or "an empty path")
    if not root.is_dir():
        if suffix_of(root) not in TABLES:
            expected = f"a table ({', '.join(TABLES)}), or a folder with a file or a folder for each class"
            fix = "Put the texts of each class into a file of their own, named for the class, in one folder"
            raise DataError("a text file alone does not say the classes", expected=expected, got=str(root), fix=fix)
        return Layout((Place(root, "table"),), f"a table ({suffix_of(root)})")
    folders, files = _inside(root)
    parts = {entry: PARTS[stem_of(entry).lower()] for entry in (*folders, *files) if stem_of(entry).lower() in PARTS}
    if len(set(parts.values())) > 1 and "train" in parts.values():
        return _divided(root, parts)
    tables = [file for file in files if suffix_of(file) in TABLES]
    if tables and not folders:
        return Layout(tuple(Place(file, "table") for file in tables), f"{len(tables)} tables")
    if folders:
        return _folders(root, folders)
    if files:
        return _files(root, files)
    raise DataError("an empty folder", expected="a file or a folder for each class, or a table", got=str(root))


def looks_labelled(path: Path) -> str | None:
    """Why texts at a path look as if they had classes, in words; None where that is not plain. Reads a table's head."""
    try:
        layout = find_layout(path)
        labels = {place.label for place in layout.places}
        if layout.kind == "table":
            head = read_head(layout.places[0].path)
            columns = find_columns(head, layout.places[0].path)
            words = [len(str(record.values.get(columns.text, "")).split()) for record in head.records]
            if sum(words) < _WORDS * len(words):
                return None
            return f"it is a table with texts and labels: {columns.reason}"
    except (DataError, ArgumentError):
        return None
    if len(labels) < 2:
        return None
    if layout.kind == "lines":
        found = {str(label).lower() for label in labels}
        if found <= _NUMBERS and "0" not in found:  # classes are counted from 0, chapters from 1
            return None
        return layout.reason if found <= _CLASS_WORDS else None
    several = all(sum(place.label == label for place in layout.places) > 1 for label in labels)
    text = all(suffix_of(place.path) in (".txt", "") for place in layout.places)
    return layout.reason if several and text else None


def _inside(root: Path) -> tuple[list[Path], list[Path]]:
    try:
        entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError("a folder cannot be read", got=error.strerror, where=root) from error
    files = [e for e in entries if e.is_file() and not e.name.lower().startswith(_NOT_DATA)]
    return [entry for entry in entries if entry.is_dir()], files


def _divided(root: Path, parts: dict[Path, str]) -> Layout:
    places: list[Place] = []
    reasons: list[str] = []
    for entry, part in parts.items():
        inside = find_layout(entry)
        places += [place._replace(part=part) for place in inside.places]
        reasons.append(inside.reason)
    kinds = {place.kind for place in places}
    if len(kinds) > 1:
        raise DataError("the parts hold texts of different kinds", got=" and ".join(sorted(kinds)), where=root)
    names = ", ".join(sorted(entry.name for entry in parts))
    return Layout(tuple(places), f"divided already into {names}; {reasons[0]}")


def _folders(root: Path, folders: Sequence[Path]) -> Layout:
    places = []
    for folder in folders:
        inside, files = _inside(folder)
        if inside and not files:
            fix = f"Give one of them: {folder}"
            raise DataError("the folders of the classes hold folders themselves", where=folder, fix=fix)
        places += [Place(file, "document", folder.name) for file in files]
    if not places:
        raise DataError("the folders of the classes are empty", where=root)
    return Layout(tuple(places), f"{_named(folder.name for folder in folders)}: a folder for each class")


def _files(root: Path, files: Sequence[Path]) -> Layout:
    if len(files) < 2:
        expected = "a file for each class, a document on each line"
        raise DataError("there is one class only: one file", expected=expected, got=files[0].name, where=root)
    if len(files) > _MOST_CLASSES:
        raise DataError("too many files for one each class", expected=f"up to {_MOST_CLASSES}", got=len(files))
    same = len({stem_of(file) for file in files}) == 1  # rt-polarity.pos, rt-polarity.neg
    labels = [suffix_of(file)[1:] if same else stem_of(file) for file in files]
    if len(set(labels)) < len(labels):
        labels = [file.name for file in files]
    places = tuple(Place(file, "lines", label) for file, label in zip(files, labels, strict=True))
    return Layout(places, f"{_named(file.name for file in files)}: a file for each class, a document on each line")


def find_columns(
    head: Head, path: Path, text: str | None = None, label: str | None = None, group: str | None = None
) -> Columns:
    """The columns of the texts and of their classes, as given or guessed by their names and by what they hold; neither
    is that of the `group`.

    Raises `ArgumentError` for columns that are not there or are one and the same, `DataError` where nothing fits.
    """
    for option, name in (("text_column", text), ("label_column", label)):
        if name is not None and name not in head.columns:
            expected = ", ".join(map(repr, head.columns))
            raise ArgumentError(
                f"{option}: the table has no such column", expected=expected, got=repr(name), where=path
            )
    if text is not None and text == label:
        what = "the label column is the text column, too: the answer would stand in the question"
        raise ArgumentError(what, got=repr(text), fix="Name two columns: --text-column, --label-column")
    if not head.records:
        raise DataError("the table has no rows", expected="a row for each text", where=path)
    reasons = []
    if text is None:
        text, reason = guess_text(head, path, (label, group))
        reasons.append(f"texts in column {text!r} ({reason})")
    if label is None:
        label, reason = _guess_label(head, path, (text, group))
        reasons.append(f"classes in column {label!r} ({reason})")
    return Columns(text, label, ", ".join(reasons))


def guess_text(head: Head, path: Path, but: Iterable[str | None] = ()) -> tuple[str, str]:
    """The column of the texts, and why. Raises `DataError` where none looks like them."""
    words = {}
    for name, values in _values(head, but).items():
        texts = [value for value in values if isinstance(value, str)]
        if 2 * len(texts) >= len(values):
            words[name] = sum(len(text.split()) for text in texts) / len(texts)
    named = [name for wanted in TEXT_NAMES for name in words if name.lower() == wanted]
    long = [name for name in words if words[name] >= _WORDS]
    for name in named:
        if name in long or not long:  # a `document` may be its number
            return name, "by its name"
    if long:
        longest = max(long, key=words.__getitem__)
        return longest, f"the longest texts, {words[longest]:.0f} words on average"
    raise _unknown("texts", "--text-column", head, path)


def _guess_label(head: Head, path: Path, but: Iterable[str | None]) -> tuple[str, str]:
    values = _values(head, but)
    named = [name for wanted in LABEL_NAMES for name in values if name.lower() == wanted]
    if named:
        return named[0], "by its name"
    few = {name: len(set(map(str, own))) for name, own in values.items() if len(own) > 9}
    few = {name: count for name, count in few.items() if 2 <= count <= max(2, len(values[name]) // 5)}
    fewer = {name: count for name, count in few.items() if count <= _CLASSES}  # authors are more
    if len(fewer or few) == 1:
        ((name, count),) = (fewer or few).items()
        return name, f"the only one with few different values, {count}"
    raise _unknown("classes", "--label-column", head, path)


def _values(head: Head, but: Iterable[str | None]) -> dict[str, list[Any]]:
    """Of each column what is not empty in the first records."""
    found = {
        name: [r.values[name] for r in head.records if r.values.get(name) not in (None, "")]
        for name in head.columns
        if name not in but
    }
    return {name: values for name, values in found.items() if values}


def _unknown(what: str, option: str, head: Head, path: Path) -> DataError:
    columns = ", ".join(map(repr, head.columns))
    problem = f"which column holds the {what} is not plain"
    return DataError(problem, got=f"columns {columns}", where=path, fix=f"Name it: {option}")


def _named(names: Iterable[str], shown: int = 4) -> str:
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown:,} more" if len(listed) > shown else "")
