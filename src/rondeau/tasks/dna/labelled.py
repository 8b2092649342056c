"""Where the classes of sequences stand: in a table's column, in headings, or in the names of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.dna.alphabets import ALPHABETS, Alphabet, detect
from rondeau.data.dna.fasta import head_of_fasta, named_label, second_word
from rondeau.data.dna.files import kind_of, read_records, sequence_files
from rondeau.data.dna.records import SequenceRecord
from rondeau.data.dna.tables import find_sequences, looks_like_sequences
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import read_head
from rondeau.data.texts.layouts import PARTS
from rondeau.data.texts.text_lines import stem_of
from rondeau.errors import ArgumentError, DataError

_LOOKED_AT = 200  # records by which a file is judged
WAYS = ("column", "named", "second", "file")


class Place(NamedTuple):
    """A file, the class it is named for, and its part where the data come divided."""

    path: Path
    label: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class Layout:
    """Files of labelled sequences; `way`: how a record's class is found, one of `WAYS`; in words why."""

    places: tuple[Place, ...]
    way: str
    reason: str


def find_layout(path: str, settings: Any) -> Layout:
    """How labelled sequences lie at a path. Raises `DataError` where no classes are found, saying what would do."""
    files = sequence_files(path)
    stems = [stem_of(file).lower() for file in files]
    if len(files) > 1 and set(stems) <= set(PARTS) and "train" in {PARTS[stem] for stem in stems}:
        places = tuple(Place(file, None, PARTS[stem]) for file, stem in zip(files, stems, strict=True))
        way, reason = _way(files[0], settings)
        return Layout(places, way, f"divided already into {', '.join(file.name for file in files)}; {reason}")
    tables = [file for file in files if kind_of(file) == "table"]
    if len(files) > 1 and not tables:
        labels = [stem_of(file) for file in files]
        if len(set(labels)) < len(labels):
            labels = [file.name for file in files]
        shown = ", ".join(file.name for file in files[:4]) + (" ..." if len(files) > 4 else "")
        places = tuple(Place(file, label) for file, label in zip(files, labels, strict=True))
        return Layout(places, "file", f"{shown}: a file for each class")
    chosen = tables or files
    way, reason = _way(chosen[0], settings)
    return Layout(tuple(map(Place, chosen)), way, reason)


def _way(file: Path, settings: Any) -> tuple[str, str]:
    """How the classes stand in one file."""
    if kind_of(file) == "table":
        found = find_sequences(
            read_head(file), file, settings.sequence_column, settings.label_column, group=settings.group
        )
        if found.label is None:
            fix = "Name it: --label-column"
            raise DataError("which column holds the classes is not plain", where=file, fix=fix)
        return "column", found.reason
    for name in ("sequence_column", "label_column", "group"):
        if getattr(settings, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ArgumentError(f"{file.name} has no columns", got=option, fix=f"Leave {option} out, or give a table")
    records = _first(file)
    if records and all(named_label(one) is not None for one in records):
        return "named", "headings name a label"
    words = [second_word(one) for one in records]
    distinct = {word for word in words if word is not None}
    if records and None not in words and len(distinct) <= max(2, len(records) // 5):
        return "second", f"the second word of a heading is its class, such as {words[0]!r}"
    expected = "a table with a label column, headings such as '>id label' or '>id label=...', or a file for each class"
    raise DataError("the sequences have no classes", expected=expected, where=file)


def _first(file: Path) -> list[SequenceRecord]:
    if kind_of(file) == "fasta":  # one of its records may be a chromosome
        return head_of_fasta(file, _LOOKED_AT)
    return list(islice(read_records(file, Faults("skip")), _LOOKED_AT))


def looks_labelled(path: Path) -> str | None:
    """Why sequences at a path look as if they had classes; None where that is not plain. Reads first records only."""
    from rondeau.tasks.dna.settings import ClassificationSettings

    try:
        files = sequence_files(path)
        tables = [file for file in files if kind_of(file) == "table"]
        if tables:
            head = read_head(tables[0])
            name = looks_like_sequences(head)
            found = None if name is None else find_sequences(head, tables[0], name)
            if name is None or found is None or found.label is None or found.tags is not None:
                return None
            return f"column {name!r} holds sequences, and {found.label!r} their classes"
        if path.is_dir() and len(files) < len([p for p in path.iterdir() if p.is_file()]):
            return None
        layout = find_layout(str(path), ClassificationSettings())
        if layout.way == "file" and any(kind_of(file) == "genbank" for file in files):
            return None
        if layout.way == "second" and len({second_word(one) for one in _first(files[0])}) < 2:
            return None
    except (DataError, ArgumentError):
        return None
    return layout.reason


def read_labelled(layout: Layout, settings: Any, faults: Faults) -> Iterator[tuple[SequenceRecord, str | None]]:
    """Records with their classes, and the part each is of. Fault: a record without a class."""
    for path, label, part in layout.places:
        columns = settings.sequence_column, settings.label_column, settings.group
        for record in read_records(path, faults, *columns):
            own = label
            if layout.way == "column":
                own = record.label
            elif layout.way != "file":
                own = named_label(record) if layout.way == "named" else second_word(record)
            if not own:
                faults.add("a record has no class", where=record.where, got=repr(record.id))
                continue
            yield record._replace(label=own, where=record.where or str(path)), part


def alphabet_of(files: Sequence[Path], settings: Any) -> tuple[Alphabet, str]:
    """The alphabet asked for, or told by the first records of each of some files, and why."""
    if settings.alphabet != "auto":
        return ALPHABETS[settings.alphabet], f"{settings.alphabet}: as asked for"
    texts = (
        one.letters[:10_000]
        for file in files[:20]
        for one in (
            _first(file)
            if kind_of(file) != "table"
            else islice(read_records(file, Faults("skip"), settings.sequence_column), _LOOKED_AT)
        )
    )
    return detect(texts)
