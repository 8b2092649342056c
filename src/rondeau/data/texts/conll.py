"""Tagged sentences from CoNLL-U and CoNLL column files, one after another, never a whole file at once."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.errors import ArgumentError, DataError

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_MUST_BE_GIVEN = ("upos", "xpos", "head", "deprel")  # where "_" means that nothing was annotated
_DOCUMENT = "-DOCSTART-"
_LOOKED_AT = 400  # lines, to tell what a file holds


class Sentence(NamedTuple):
    """Words and the tag of each; no tags where none were asked for.

    `group`: the document it stands in, None where the file names none. `place`: its file and first line.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] = ()
    group: str | None = None
    place: str = ""


class _Block(NamedTuple):
    """The lines between two blank ones; `broken`: the first that is no UTF-8."""

    first: int
    lines: list[str]
    broken: int | None


def read_conllu(path: str | Path, column: str = "upos", faults: Faults | None = None) -> Iterator[Sentence]:
    """The sentences of a CoNLL-U file (universaldependencies.org/format), `.gz` too.

    The words are the syntactic ones: of a multiword token (`1-2`) its parts, and no empty nodes (`1.1`). `# newdoc`
    begins a document, the sentences' `group`.

    Args:
        column: whose entries are the tags: a name (`upos`, `xpos`, `deprel`, ...), or "" for words alone.
        faults: what becomes of a sentence with a line that is damaged (default: `DataError`, naming file and line).

    Raises `ArgumentError` for an unknown column.
    """
    faults = Faults() if faults is None else faults
    wanted = column.lower()
    if wanted and wanted not in CONLLU[2:]:
        raise ArgumentError("column of CoNLL-U", expected=", ".join(CONLLU[2:]), got=repr(column))
    group: str | None = None
    for block in _blocks(path):
        for line in block.lines:
            if line.startswith("# newdoc"):
                group = line.partition("=")[2].strip() or f"{path}:{block.first}"
        if block.broken is not None:
            _undecodable(path, block, faults)
            continue
        found = _conllu_words(path, block, wanted, faults)
        if found is not None and found[0]:
            yield Sentence(*found, group, f"{path}:{block.first}")


def _conllu_words(
    path: str | Path, block: _Block, column: str, faults: Faults
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Words and tags, None for a sentence that was left out."""
    at = CONLLU.index(column) if column else None
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(block.lines, block.first):
        if line.startswith("#"):
            continue
        where = f"{path}:{number}"
        cells = line.split("\t")
        if len(cells) != len(CONLLU):
            fix = "Columns are separated by tabs, empty ones hold _"
            faults.add(
                "a line of CoNLL-U without 10 columns",
                where=where,
                expected=10,
                got=f"{len(cells)}: {line[:60]!r}",
                fix=fix,
            )
            return None
        if "-" in cells[0] or "." in cells[0]:
            continue
        if cells[0] != str(len(words) + 1):
            what = "the words of a CoNLL-U sentence are not numbered 1, 2, 3"
            faults.add(what, where=where, expected=len(words) + 1, got=repr(cells[0]))
            return None
        if not cells[1].strip():
            faults.add("a word is empty", where=where)
            return None
        if at is not None and (not cells[at] or (cells[at] == "_" and column in _MUST_BE_GIVEN)):
            faults.add(f"a word without a tag in column {column}", where=where, got=repr(cells[at]))
            return None
        words.append(cells[1])
        if at is not None:
            tags.append(cells[at])
    return tuple(words), tuple(tags)


def read_columns(
    path: str | Path, column: int | None = -1, word: int = 0, faults: Faults | None = None
) -> Iterator[Sentence]:
    """The sentences of a file with a word and its tags on each line, and blank lines between sentences; `.gz` too.

    Columns stand apart by tabs, or where there are none by blanks. `-DOCSTART-` begins a document, the `group`.

    Args:
        column: which column holds the tags, from 0, or from the end with -1 (default); None: words alone.
        word: which holds the words (default 0).
        faults: what becomes of a sentence with a damaged line (default: `DataError`, naming file and line).
    """
    faults = Faults() if faults is None else faults
    group: str | None = None
    width: int | None = None
    for block in _blocks(path):
        if any(line.startswith(_DOCUMENT) for line in block.lines):
            group = f"{path}:{block.first}"
        if block.broken is not None:
            _undecodable(path, block, faults)
            continue
        rows = [(number, _cells(line)) for number, line in enumerate(block.lines, block.first)]
        rows = [(n, cells) for n, cells in rows if cells[0] != _DOCUMENT and not _is_comment(cells, width)]
        if not rows:
            continue
        width = len(rows[0][1]) if width is None else width
        _check_width(path, rows[0][0], width, column, word)
        wrong = next(((n, cells) for n, cells in rows if len(cells) != width), None)
        if wrong is not None:
            got = f"{len(wrong[1])}: {' '.join(wrong[1])[:60]!r}"
            faults.add(
                "a line with another number of columns than the first",
                where=f"{path}:{wrong[0]}",
                expected=width,
                got=got,
            )
            continue
        tags = () if column is None else tuple(cells[column] for _, cells in rows)
        yield Sentence(tuple(cells[word] for _, cells in rows), tags, group, f"{path}:{block.first}")


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _is_comment(cells: list[str], width: int | None) -> bool:
    """A line `# ...`; where words may be "#" the number of columns tells."""
    return cells[0].startswith("#") and len(cells) != (2 if width is None else width)


def _check_width(path: str | Path, line: int, width: int, column: int | None, word: int) -> None:
    if column is None:
        return
    if not -width <= column < width or column % width == word:
        got = f"{width} column{'s' if width > 1 else ''}, tags wanted from column {column}"
        fix = "Put a word and its tag on each line, with a tab between them"
        raise DataError("there is no column of tags beside the words", got=got, where=f"{path}:{line}", fix=fix)


def _undecodable(path: str | Path, block: _Block, faults: Faults) -> None:
    fix = "Save the file as UTF-8"
    faults.add("a sentence that is no UTF-8", where=f"{path}:{block.broken}", fix=fix)


def _blocks(path: str | Path) -> Iterator[_Block]:
    lines: list[str] = []
    first, broken = 1, None
    packed = str(path).endswith(".gz")
    with opened(path) as file, Meter(f"reading {Path(path).name}", None if packed else _size(path), "B") as meter:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                broken = number if broken is None else broken
            if line.strip():
                if not lines:
                    first = number
                lines.append(line)
            elif lines:
                yield _Block(first, lines, broken)
                meter.advance(sum(map(len, lines)) + len(lines) + 1)  # letters, nearly bytes
                lines, broken = [], None
    if lines:
        yield _Block(first, lines, broken)


def _size(path: str | Path) -> int:
    return Path(path).stat().st_size


def opened(path: str | Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in .gz. Raises `DataError` where it cannot be read."""
    try:
        return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError("a file cannot be read", got=error.strerror or str(error), where=path) from error


def kind_of(path: str | Path, sure: bool = True) -> str | None:
    """'conllu' or 'columns' by what the file's first lines look like; None for neither.

    Columns are rows that nearly all have the same 2 to 12 of them; where one must be `sure`, blank lines part the rows,
    and the last columns repeat as tags do.
    """
    lines: list[str] = []
    try:
        with opened(path) as file:
            for raw in file:
                lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
                if len(lines) == _LOOKED_AT:
                    break
    except (OSError, EOFError, DataError):  # no gzip file after all, or not ours to read
        return None
    rows = [line for line in lines if line.strip() and not line.startswith(("#", _DOCUMENT))]
    if not rows or any("\0" in line for line in rows):
        return None
    cells = [_cells(row) for row in rows]
    numbered = re.compile(r"\d+([-.]\d+)?$")
    if sum(len(one) == len(CONLLU) and bool(numbered.match(one[0])) for one in cells) > len(rows) / 2:
        return "conllu"
    parted = sum(not line.strip() for line in lines[1:-1]) > 0
    width = len(cells[0])
    alike = sum(len(one) == width for one in cells) >= 0.9 * len(cells)
    if not (alike and 2 <= width <= 12):
        return None
    if not sure:
        return "columns"
    if not parted:
        return None
    tags = {one[-1] for one in cells if len(one) == width}
    return "columns" if 3 <= len(rows) >= 2 * len(tags) and all(len(tag) <= 24 for tag in tags) else None


_PARTS = {
    "train": ("train", "training"),
    "validation": ("dev", "devel", "development", "valid", "validation", "val", "testa"),
    "test": ("test", "testing", "testb"),
}


def part_of(name: str) -> str | None:
    """'train', 'validation' or 'test' where a file's name says so.

    >>> part_of("en_ewt-ud-dev.conllu"), part_of("eng.testb"), part_of("words.txt")
    ('validation', 'test', None)
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    found = [part for part, names in _PARTS.items() if any(word in names for word in words)]
    return found[0] if len(found) == 1 else None


def tagged_files(path: str | Path) -> dict[str | None, list[tuple[Path, str]]]:
    """The tagged files at a path, with the kind of each, by the part that their names say; None for no part.

    A folder that has a training and a test file is taken as divided; otherwise all files are one heap. Raises
    `DataError` where there is none.
    """
    place = Path(path)
    if not place.exists():
        raise DataError("there is no such file or folder", where=place)
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file() and p.name[0] != ".")
    kinds = {file: kind_of(file, sure=file != place and part_of(file.name) is None) for file in files}
    found = [(file, kind) for file, kind in kinds.items() if kind is not None]
    if not found:
        expected = "CoNLL-U, or a word and its tag on each line and blank lines between sentences"
        raise DataError("there are no tagged sentences", expected=expected, where=place)
    parts: dict[str | None, list[tuple[Path, str]]] = {}
    for file, kind in found:
        parts.setdefault(part_of(file.name), []).append((file, kind))
    if place.is_dir() and "train" in parts and "test" in parts:
        parts.pop(None, None)
        return parts
    return {None: found}
