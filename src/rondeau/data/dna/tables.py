"""Sequences in a column of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rondeau.data.dna.records import SequenceRecord
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import Head, read_head, read_rows
from rondeau.errors import ArgumentError, DataError

SEQUENCE_NAMES = ("sequence", "seq", "dna", "rna", "protein", "peptide", "dna_sequence", "bases", "aa_sequence", "text")
LABEL_NAMES = ("label", "class", "category", "target", "y", "type", "family", "species", "function", "label_name")
TAG_NAMES = ("tags", "labels", "structure", "annotation", "track", "states", "dssp", "ss3", "ss8")
ID_NAMES = ("id", "name", "accession", "identifier", "sequence_id", "seq_id", "record")
_SHORTEST = 8  # letters of what counts as a sequence by its look alone


class SequenceColumns(NamedTuple):
    """Which column holds what, None for none; `reason`: why, in words."""

    sequence: str
    label: str | None
    tags: str | None
    id: str | None
    reason: str


def find_sequences(
    head: Head,
    path: str | os.PathLike[str],
    sequence: str | None = None,
    label: str | None = None,
    tags: str | None = None,
    group: str | None = None,
) -> SequenceColumns:
    """The columns as given, or recognised by their names and by what they hold.

    Raises `ArgumentError` for a column that is not there, `DataError` where none holds sequences.
    """
    for option, name in (
        ("sequence_column", sequence),
        ("label_column", label),
        ("tags_column", tags),
        ("group", group),
    ):
        if name is not None and name not in head.columns:
            expected = ", ".join(map(repr, head.columns))
            raise ArgumentError(
                f"{option}: the table has no such column", expected=expected, got=repr(name), where=path
            )
    if sequence is not None and sequence == label:
        fix = "Name two columns: --sequence-column, --label-column"
        raise ArgumentError("the label column is that of the sequences", got=repr(label), fix=fix)
    reasons = []
    if sequence is None:
        sequence, why = _guess_sequence(head, path)
        reasons.append(f"sequences in column {sequence!r} ({why})")
    others = [name for name in head.columns if name not in (sequence, group)]
    if tags is None:
        tags = next((n for n in _named(TAG_NAMES, others) if _as_long(head, sequence, n)), None)
        reasons += [f"a tag for each letter in column {tags!r}"] if tags else []
    others = [name for name in others if name != tags]
    if label is None:
        label = next(iter(_named(LABEL_NAMES, others)), None)
        reasons += [f"classes in column {label!r} (by its name)"] if label else []
    ident = next((name for name in _named(ID_NAMES, others) if name != label), None)
    return SequenceColumns(sequence, label, tags, ident, ", ".join(reasons))


def read_table(
    path: str | os.PathLike[str],
    faults: Faults,
    sequence: str | None = None,
    label: str | None = None,
    group: str | None = None,
    tags: str | None = None,
) -> Iterator[SequenceRecord]:
    """The records of a table, one at a time; columns as given or as `find_sequences` finds them.

    Faults: a record with another number of tags than letters. Raises as `find_sequences` does.
    """
    found = find_sequences(read_head(path), path, sequence, label, tags, group)
    wanted = [name for name in (found.sequence, found.label, found.tags, found.id, group) if name is not None]
    for number, (values, where) in enumerate(read_rows(path, "utf-8", faults, wanted), 1):
        letters = str(values.get(found.sequence) or "").strip().encode("ascii", "replace")
        given = None if found.tags is None else str(values.get(found.tags) or "").strip()
        if given is not None and len(given) != len(letters):
            expected = f"{len(letters)} tags"
            what = "a record has another number of tags than letters"
            faults.add(what, where=where, expected=expected, got=len(given))
            continue
        name = str(values.get(found.id) or "") if found.id else f"row {number}"
        yield SequenceRecord(
            name or f"row {number}",
            letters,
            label=_word(values.get(found.label)) if found.label else None,
            group=_word(values.get(group)) if group else None,
            tags=None if given is None else given.encode("latin-1", "replace"),
            where=where,
        )


def looks_like_sequences(head: Head) -> str | None:
    """The column that holds sequences, as far as can be told without asking; None without one."""
    for name in head.columns:
        values = _texts(head, name)
        known = name.lower() in SEQUENCE_NAMES and name.lower() != "text"
        if values and all(map(_is_word, values)) and (_are_bases(values) or (known and _are_acids(values))):
            return name
    return None


def _guess_sequence(head: Head, path: str | os.PathLike[str]) -> tuple[str, str]:
    named = [n for n in _named(SEQUENCE_NAMES, head.columns) if any(map(_is_word, _texts(head, n)))]
    if named:
        return named[0], "by its name"
    seen = looks_like_sequences(head)
    if seen is None:
        got = f"columns {', '.join(map(repr, head.columns))}"
        fix = "Name it: --sequence-column"
        raise DataError("which column holds the sequences is not plain", got=got, where=path, fix=fix)
    return seen, "by its letters"


def _named(wanted: Sequence[str], columns: Sequence[str]) -> list[str]:
    return [name for want in wanted for name in columns if name.lower() == want]


def _texts(head: Head, name: str) -> list[str]:
    return [str(r.values[name]).strip() for r in head.records if r.values.get(name) not in (None, "")]


def _is_word(value: str) -> bool:
    return value.replace("*", "").replace("-", "").isalpha() and value.isascii()


def _are_bases(values: list[str]) -> bool:
    letters = "".join(values).upper()
    plain = sum(letters.count(letter) for letter in "ACGTUN")
    return sum(map(len, values)) >= _SHORTEST * len(values) and plain >= 0.9 * len(letters)


def _are_acids(values: list[str]) -> bool:
    return sum(map(len, values)) >= _SHORTEST * len(values) and not set("".join(values).upper()) - set(
        "ACDEFGHIKLMNPQRSTVWYUOBZJX*"
    )


def _as_long(head: Head, sequence: str, tags: str) -> bool:
    pairs = [(str(r.values.get(sequence) or ""), str(r.values.get(tags) or "")) for r in head.records]
    return bool(pairs) and sum(len(a.strip()) == len(b.strip()) for a, b in pairs) > len(pairs) / 2


def _word(value: Any) -> str | None:
    """A cell as a word; 1.0, as tables with gaps have it, is 1. None where there is none."""
    if value is None or value != value or not str(value).strip():
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
