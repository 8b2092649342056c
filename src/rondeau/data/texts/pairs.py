"""Pairs of texts: parallel files, folders that hold their own parts, and tables with two columns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.stored import Stored
from rondeau.data.faults import Faults
from rondeau.data.progress import progress
from rondeau.data.tables.rows import TABLES, read_head, read_rows
from rondeau.data.texts.pair_layouts import Layout, ending, find_pairs, flat, listed
from rondeau.data.texts.text_lines import Line, read_lines, suffix_of
from rondeau.errors import ArgumentError, DataError

Rows = NDArray[np.int64]


class Pair(NamedTuple):
    """What is read and what is to be written, the place they stand at, and what they belong to, if that is known."""

    source: str
    target: str
    where: str
    group: str | None = None


class PairStore(Sequence[Pair]):
    """Pairs in a `Stored` file, or some of them by their numbers; sixteen bytes each are in memory."""

    def __init__(self, pairs: Iterable[Pair] = (), records: Stored | None = None, rows: Rows | None = None) -> None:
        self._records = Stored(map(_packed, pairs)) if records is None else records
        self._rows = np.arange(len(self._records)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, number: int) -> Pair: ...
    @overload
    def __getitem__(self, number: slice) -> PairStore: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return self.some(np.arange(*number.indices(len(self))))
        return _unpacked(self._records[int(self._rows[number])])

    def __iter__(self) -> Iterator[Pair]:
        return (_unpacked(self._records[int(row)]) for row in self._rows)

    def some(self, numbers: Rows) -> PairStore:
        """Those of these numbers."""
        return PairStore(records=self._records, rows=self._rows[numbers])

    def texts(self, side: str) -> Texts:
        """One side of each: "source" or "target"."""
        return Texts(self, side)

    def keys(self) -> Rows:
        """Of each pair a number that stands for its two sides, `(pairs,)`."""
        return np.fromiter(map(_key, self), np.int64, len(self))


class Texts:
    """One side of many pairs, which may be gone through again."""

    def __init__(self, pairs: PairStore, side: str) -> None:
        self.pairs, self.side = pairs, side

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[str]:
        return (getattr(pair, self.side) for pair in self.pairs)


def _packed(pair: Pair) -> bytes:
    return json.dumps(pair).encode()


def _unpacked(record: bytes) -> Pair:
    return Pair(*json.loads(record))


def _key(pair: Pair) -> int:
    sides = f"{len(pair.source)} {pair.source}{pair.target}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(sides, digest_size=8).digest(), "little", signed=True)


class Pairs(NamedTuple):
    """Pairs as they were found.

    `parts`: "train" and, where the files are divided already, "validation" and "test"; `source` and `target`: the
    sides' names, such as languages, "" where they have none; `notes`: what was decided, in words.
    """

    parts: dict[str, PairStore]
    source: str
    target: str
    notes: list[str]


def read_pairs(
    path: str | os.PathLike[str],
    source: str | None = None,
    target: str | None = None,
    faults: Faults | None = None,
    encoding: str = "utf-8",
    training: bool = True,
    group: str | None = None,
) -> Pairs:
    """The pairs of a file or folder; `.gz` files are unpacked on the way.

    - a folder of parallel files, `train.de.gz` beside `train.en.gz`: lines of one number are a pair. Files whose names
      begin with `train`, `val`, `valid`, `dev` and `test` are parts of their own.
    - one of two parallel files: the other stands beside it and differs in the last suffix.
    - lines with a tab between the two sides (`.tsv`, `.txt`); what stands behind a second tab is not read.
    - a table (`.csv`, `.tsv` with a header, `.jsonl`, `.parquet`) with two columns of text.

    Args:
        source, target: name of the side to read from and of the one to write: a file's suffix (`de`) or a column.
            Without, the two are guessed, and `notes` say why.
        faults: what becomes of lines that are no pair, or have an empty side (default: the first is an error).
        encoding: of the text.
        training: whether there must be a part to train on (default); otherwise any will do.
        group: of a table, the column of what a pair belongs to.

    Raises `DataError` for data that hold no pairs, `ArgumentError` for a side there is not.
    """
    faults = Faults() if faults is None else faults
    layout = find_pairs(path, source, target, encoding)
    if group is not None:
        _check_group(layout, group, encoding)
    parts = {
        part: PairStore(progress(_read_part(files, layout, encoding, faults, group), "reading pairs", unit="pairs"))
        for part, files in layout.files.items()
    }
    if not any(parts.values()) or (training and not parts.get("train")):
        raise DataError("there are no pairs to learn from", got="no usable pair", where=path)
    return Pairs(parts, layout.source, layout.target, layout.notes)


def read_sources(path: str | os.PathLike[str], side: str = "", encoding: str = "utf-8") -> Iterator[str]:
    """What is to be translated, from a file or all files of a folder: a text a line, the first of a line with tabs, or
    a table's column: `side`, or the only one.

    Raises `DataError` for what cannot be read, and for a table without the column.
    """
    root = Path(path)
    if root.is_dir():
        files = [file for file in sorted(root.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        own = [file for file in files if ending(file) == side]
        for file in own or files:
            yield from read_sources(file, side, encoding)
        return
    if not root.is_file():
        raise DataError("no such file or folder", got=str(root))
    if suffix_of(root) in TABLES:
        head = read_head(root, encoding)
        column = side if side in head.columns else head.columns[0] if len(head.columns) == 1 else None
        if column is not None:
            yield from (str(record.values.get(column) or "") for record in read_rows(root, encoding))
            return
        if suffix_of(root) != ".tsv":
            raise DataError("no such column", expected=side or "a single column", got=listed(head.columns), where=root)
    for line in read_lines(root, encoding):
        yield line.text.rstrip("\r\n").split("\t")[0]


def leaked(parts: Mapping[str, PairStore]) -> dict[str, PairStore]:
    """For each held-out part the pairs that stand in "train" as well, both sides alike."""
    held_out = {name: part for name, part in parts.items() if name != "train"}
    known = parts["train"].keys() if held_out else np.zeros(0, np.int64)
    return {name: part.some(np.flatnonzero(np.isin(part.keys(), known))) for name, part in held_out.items()}


def _check_group(layout: Layout, group: str, encoding: str) -> None:
    files = next(iter(layout.files.values()))
    if not _is_table(files, layout):
        fix = "Leave --group out, or give the pairs as a table"
        raise ArgumentError("group names a column, and these pairs have none", got=repr(group), where=files[0], fix=fix)
    columns = read_head(files[0], encoding).columns
    if group not in columns:
        raise DataError("no such column", expected=group, got=listed(columns), where=files[0])


def _is_table(files: tuple[Path, ...], layout: Layout) -> bool:
    return len(files) == 1 and layout.source != "" and suffix_of(files[0]) in TABLES


def _read_part(
    files: tuple[Path, ...], layout: Layout, encoding: str, faults: Faults, group: str | None
) -> Iterator[Pair]:
    if len(files) == 2:
        yield from _parallel(files[0], files[1], encoding, faults)
    elif _is_table(files, layout):
        yield from _table(files[0], layout, encoding, faults, group)
    else:
        yield from _lines(files[0], layout, encoding, faults)


def _parallel(source: Path, target: Path, encoding: str, faults: Faults) -> Iterator[Pair]:
    """Lines of the same number; a line that cannot be decoded takes its partner with it."""
    counts = [0, 0]
    for sides in zip_longest(_numbered(source, encoding, faults), _numbered(target, encoding, faults)):
        counts = [count + (side is not None) for count, side in zip(counts, sides, strict=True)]
        where = f"{source.name} and {target.name}, line {max(counts):,}"
        texts = [side.text for side in sides if side is not None and side.text is not None]
        if len(texts) == 2:
            yield from _checked(texts[0], texts[1], where, faults)
    if counts[0] != counts[1]:
        got = f"{counts[0]:,} and {counts[1]:,}"
        fix = "Look for the line that is missing: from there on the pairs do not belong together"
        what = "two parallel files have different numbers of lines"
        faults.add(what, where=f"{source} and {target.name}", expected="equally many", got=got, fix=fix)


class _Numbered(NamedTuple):
    text: str | None


def _numbered(path: Path, encoding: str, faults: Faults) -> Iterator[_Numbered]:
    """Every line in its place, None for one that was left out."""
    expected = 1
    for line in read_lines(path, encoding, faults):
        for _ in range(line.number - expected):
            yield _Numbered(None)
        yield _Numbered(line.text)
        expected = line.number + 1


def _lines(file: Path, layout: Layout, encoding: str, faults: Faults) -> Iterator[Pair]:
    lines: Iterator[Line] = read_lines(file, encoding, faults)
    order = (0, 1)
    if layout.source:  # the first line names the sides
        named = [field.strip() for field in next(lines).text.split("\t")]
        order = named.index(layout.source), named.index(layout.target)
    for line in lines:
        where = f"{file}, line {line.number:,}"
        fields = line.text.rstrip("\r\n").split("\t")
        if line.text.strip() and len(fields) <= max(order):
            faults.add("a line without a tab", where=where, expected="source, a tab, target", got=repr(fields[0][:60]))
        elif line.text.strip():
            yield from _checked(fields[order[0]], fields[order[1]], where, faults)


def _table(file: Path, layout: Layout, encoding: str, faults: Faults, group: str | None) -> Iterator[Pair]:
    columns = (layout.source, layout.target)
    for record in read_rows(file, encoding, faults):
        values = flat(record.values)
        found = [values.get(column) for column in columns]
        if not all(isinstance(value, str) or value is None for value in found):
            kinds = listed(type(value).__name__ for value in found)
            faults.add("a side is no text", where=record.where, expected="two texts", got=kinds)
            continue
        for pair in _checked(str(found[0] or ""), str(found[1] or ""), record.where, faults):
            yield pair if group is None else pair._replace(group=str(record.values.get(group)))


def _checked(source: str, target: str, where: str, faults: Faults) -> Iterator[Pair]:
    source, target = source.strip(), target.strip()
    if source and target:
        yield Pair(source, target, where)
        return
    empty = "both sides" if not source and not target else "the source" if not source else "the target"
    faults.add("a pair with an empty side", where=where, expected="two texts", got=f"{empty} empty")
