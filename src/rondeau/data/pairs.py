"""Pairs of texts: parallel files, folders that hold their own parts, and tables with two columns."""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.rows import TABLES, read_head, read_rows
from rondeau.data.text_lines import Line, read_lines, suffix_of
from rondeau.errors import ArgumentError, DataError, RondeauError

PARTS = {"train": "train", "val": "validation", "valid": "validation", "dev": "validation", "test": "test"}
_TABBED = (".tsv", ".tab", ".txt", "")
_NAMED = (("source", "target"), ("src", "tgt"), ("src", "trg"), ("input", "output"), ("question", "answer"))
_LANGUAGE = re.compile(r"([a-z]{2})([_-][A-Za-z]{2,4})?")
_CODES = (  # ISO 639-1, those with much text, two letters each
    "afamarazbebgbnbscacscydadeeleneoeseteufafifrgaglguhehihrhuhyidisitjakakkkmknkokylalbloltlvmkmlmnmrms"
    "mtmynenlnnnopaplpsptrorusiskslsqsrsvswtatetgthtltrukuruzviyizhzu"
)


class Pair(NamedTuple):
    """What is read and what is to be written, and the place they stand at."""

    source: str
    target: str
    where: str


class Pairs(NamedTuple):
    """Pairs as they were found.

    `parts`: "train" and, where the files are divided already, "validation" and "test"; `source` and `target`: the
    sides' names, such as languages, "" where they have none; `notes`: what was decided, in words.
    """

    parts: dict[str, list[Pair]]
    source: str
    target: str
    notes: list[str]


class Layout(NamedTuple):
    """Which files hold the pairs, by part, and the sides' names; of tables `source` and `target` name the columns.

    A part is one file with both sides, or two with one each.
    """

    files: dict[str, tuple[Path, ...]]
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

    Raises `DataError` for data that hold no pairs, `ArgumentError` for a side there is not.
    """
    faults = Faults() if faults is None else faults
    layout = find_pairs(path, source, target, encoding)
    parts = {part: list(_read_part(files, layout, encoding, faults)) for part, files in layout.files.items()}
    if not any(parts.values()) or (training and not parts.get("train")):
        raise DataError("there are no pairs to learn from", got="no usable pair", where=path)
    return Pairs(parts, layout.source, layout.target, layout.notes)


def find_pairs(
    path: str | os.PathLike[str], source: str | None = None, target: str | None = None, encoding: str = "utf-8"
) -> Layout:
    """How a file or folder holds pairs; reads names and first lines alone. Raises as `read_pairs` does."""
    if source is not None and source == target:
        raise ArgumentError("source and target are the same side", got=source)
    root = Path(path)
    if root.is_dir():
        return _in_folder(root, source, target)
    if not root.is_file():
        raise DataError("no such file or folder", got=str(root))
    beside = _beside(root, source, target)
    if beside is not None:
        return beside
    if suffix_of(root) in TABLES:
        columns = _columns(root, source, target, encoding)
        if columns is not None:
            return columns
    return _tabbed(root, source, target, encoding)


def looks_like_pairs(path: str | os.PathLike[str]) -> str | None:
    """Why a file or folder looks like pairs of texts, in words; None where it does not."""
    root = Path(path)
    try:
        if not root.is_dir() and suffix_of(root) not in (*TABLES, *_TABBED) and not is_language(_ending(root)):
            return None
        layout = find_pairs(root)
    except RondeauError:
        return None
    files = layout.files.get("train") or next(iter(layout.files.values()))
    if len(files) == 2:
        both = is_language(layout.source) and is_language(layout.target)
        return f"{files[0].name} and {files[1].name} stand beside each other" if both else None
    if layout.source:
        sides = {layout.source, layout.target}
        named = any(set(pair) == sides for pair in _NAMED) or all(map(is_language, sides))
        return f"columns {layout.source} and {layout.target}" if named else None
    lines = [line.text.rstrip("\r\n") for line in islice(read_lines(root, faults=Faults("skip")), 50)]
    fields = [line.split("\t") for line in lines]
    sentences = all(len(one) > 1 and all(len(side.split()) > 1 for side in one[:2]) for one in fields)
    return "lines of two sentences with a tab between" if sentences else None


def has_sides(path: str | os.PathLike[str], sides: Sequence[str], encoding: str = "utf-8") -> bool:
    """Whether files or columns of these names are there."""
    try:
        return set(sides) == set(find_pairs(path, *sides, encoding)[1:3])
    except (ArgumentError, DataError):
        return False


def read_sources(path: str | os.PathLike[str], side: str = "", encoding: str = "utf-8") -> Iterator[str]:
    """What is to be translated, from a file or all files of a folder: a text a line, the first of a line with tabs, or
    a table's column: `side`, or the only one.

    Raises `DataError` for what cannot be read, and for a table without the column.
    """
    root = Path(path)
    if root.is_dir():
        files = [file for file in sorted(root.rglob("*")) if file.is_file() and not file.name.startswith(".")]
        own = [file for file in files if _ending(file) == side]
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
            raise DataError("no such column", expected=side or "a single column", got=_listed(head.columns), where=root)
    for line in read_lines(root, encoding):
        yield line.text.rstrip("\r\n").split("\t")[0]


def leaked(parts: Mapping[str, Sequence[Pair]]) -> dict[str, list[Pair]]:
    """For each held-out part the pairs that stand in "train" as well, both sides alike."""
    known = {(pair.source, pair.target) for pair in parts["train"]}
    return {
        name: [pair for pair in part if (pair.source, pair.target) in known]
        for name, part in parts.items()
        if name != "train"
    }


# layouts


def _in_folder(root: Path, source: str | None, target: str | None) -> Layout:
    files = [file for file in sorted(root.iterdir()) if file.is_file() and not file.name.startswith(".")]
    by_stem: dict[str, dict[str, Path]] = {}
    for file in files:
        if "." in _bare(file):
            by_stem.setdefault(_stem(file), {})[_ending(file)] = file
    together = {stem: ends for stem, ends in by_stem.items() if len(ends) > 1}
    if not together:
        fix = "Give two files with equally many lines, such as train.de and train.en"
        raise DataError("a folder without pairs", expected="parallel files", got=_listed(by_stem), fix=fix)
    counts = Counter(end for ends in together.values() for end in ends)
    source, target, notes = _direction(list(counts), source, target, str(root))
    chosen = {stem: (ends[source], ends[target]) for stem, ends in together.items() if {source, target} <= set(ends)}
    if not chosen:
        raise DataError(f"no files that differ in .{source} and .{target} alone", got=_listed(together), where=root)
    found: dict[str, tuple[Path, ...]] = {}
    for stem, both in chosen.items():
        part = PARTS.get(re.split(r"[^a-z]", stem.lower())[0])
        if part is None and len(chosen) == 1:
            part = "train"
        if part is None or part in found:
            notes.append(f"{both[0].name} and {both[1].name} were not read")
            continue
        found[part] = both
    return Layout(found, source, target, notes)


def _beside(file: Path, source: str | None, target: str | None) -> Layout | None:
    """A file and the one that differs in its suffix, where they look like two sides."""
    own = _ending(file)
    if not own or suffix_of(file) in (*TABLES, ".txt", ".tab"):
        return None
    others = {
        _ending(other): other
        for other in sorted(file.parent.iterdir())
        if other != file and other.is_file() and _stem(other) == _stem(file) and _ending(other) not in ("", own)
    }
    wanted = {name for name in (source, target) if name is not None and name != own}
    if wanted - set(others):
        raise ArgumentError("no file of that side", expected=_listed(others), got=_listed(wanted), where=file)
    usable = wanted or {end for end in others if is_language(end)}
    if len(usable) != 1 or not (wanted or is_language(own)):
        return None
    other = usable.pop()
    source, target, notes = _direction([own, other], source, target, str(file))
    both = {own: file, other: others[other]}
    return Layout({"train": (both[source], both[target])}, source, target, notes)


def _columns(file: Path, source: str | None, target: str | None, encoding: str) -> Layout | None:
    """A table with two columns of text; None for tab-separated lines without a header."""
    head = read_head(file, encoding)
    names, records = head.columns, [_flat(record.values) for record in head.records]
    if records and list(records[0]) != list(head.records[0].values):  # the sides are one level further in
        names = list(records[0])
    texts = [name for name in names if _holds_text([record.get(name) for record in records])]
    given = [name for name in (source, target) if name is not None]
    missing = [name for name in given if name not in names]
    if suffix_of(file) == ".tsv" and (missing or (not given and not _looks_like_header(names))):
        return None
    if missing:
        raise DataError("no such column", expected=_listed(missing), got=_listed(names), where=file)
    if source is not None and target is not None:
        return Layout({"train": (file,)}, source, target, [])
    named = next((list(pair) for pair in _NAMED if set(pair) <= set(names)), None)
    sides = named or [name for name in texts if is_language(name)]
    sides = sides if len(sides) == 2 else texts
    if len(sides) != 2:
        fix = "Name them: --source-language COLUMN --target-language COLUMN"
        raise DataError("which two columns are the pairs", expected="two of text", got=_listed(texts), fix=fix)
    source, target, notes = _direction(sides, source, target, str(file), ordered=True)
    return Layout({"train": (file,)}, source, target, notes)


def _tabbed(file: Path, source: str | None, target: str | None, encoding: str) -> Layout:
    if suffix_of(file) not in _TABBED:
        expected = "lines with a tab, a table, or a second file beside it that differs in its suffix"
        raise DataError("no pairs", expected=expected, got=file.name, where=file)
    first = next(read_lines(file, encoding, Faults("skip")), None)
    if first is None:
        raise DataError("an empty file", where=file)
    named = [field.strip() for field in first.text.split("\t")[:2]]
    if source is not None or target is not None:
        if not {name for name in (source, target) if name} <= set(named) or len(named) < 2:
            fix = "Name the sides in the first line, or leave the names out: the first column is the source then"
            wanted = _listed(name for name in (source, target) if name)
            raise DataError("no such column", expected=wanted, got=_listed(named), where=file, fix=fix)
        source, target, notes = _direction(named, source, target, str(file), ordered=True)
        return Layout({"train": (file,)}, source, target, notes)
    return Layout({"train": (file,)}, "", "", ["the first of each line's columns is read, the second is written"])


def _direction(
    names: list[str], source: str | None, target: str | None, where: str, ordered: bool = False
) -> tuple[str, str, list[str]]:
    """Which side is read and which written: as told, into English, or in the order in which they come."""
    for name in (source, target):
        if name is not None and name not in names:
            raise ArgumentError("no such side", expected=_listed(names), got=name, where=where)
    if source is not None and target is not None:
        return source, target, []
    left = [name for name in names if name not in (source, target)]
    if len(names) != 2:
        fix = "Say which: --source-language NAME --target-language NAME"
        raise ArgumentError("which two sides are the pairs", expected="two", got=_listed(names), where=where, fix=fix)
    if source is None and target is None:
        english = [name for name in names if re.split("[-_]", name)[0] == "en"]
        target = english[0] if english and not ordered else names[1]
        source = next(name for name in names if name != target)
        why = "into English, as nothing else was said" if english and not ordered else "in the order in which they come"
        return source, target, [f"{source} is read and {target} written: {why}"]
    return source or left[0], target or left[0], []


# reading


def _read_part(files: tuple[Path, ...], layout: Layout, encoding: str, faults: Faults) -> Iterator[Pair]:
    if len(files) == 2:
        yield from _parallel(files[0], files[1], encoding, faults)
    elif layout.source and suffix_of(files[0]) in TABLES:
        yield from _table(files[0], layout, encoding, faults)
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


def _table(file: Path, layout: Layout, encoding: str, faults: Faults) -> Iterator[Pair]:
    columns = (layout.source, layout.target)
    for record in read_rows(file, encoding, faults):
        values = _flat(record.values)
        found = [values.get(column) for column in columns]
        if not all(isinstance(value, str) or value is None for value in found):
            kinds = _listed(type(value).__name__ for value in found)
            faults.add("a side is no text", where=record.where, expected="two texts", got=kinds)
            continue
        yield from _checked(str(found[0] or ""), str(found[1] or ""), record.where, faults)


def _checked(source: str, target: str, where: str, faults: Faults) -> Iterator[Pair]:
    source, target = source.strip(), target.strip()
    if source and target:
        yield Pair(source, target, where)
        return
    empty = "both sides" if not source and not target else "the source" if not source else "the target"
    faults.add("a pair with an empty side", where=where, expected="two texts", got=f"{empty} empty")


# names


def _bare(file: Path) -> str:
    return file.name[:-3] if file.name.lower().endswith(".gz") else file.name


def _stem(file: Path) -> str:
    return _bare(file).rpartition(".")[0]


def _ending(file: Path) -> str:
    return _bare(file).rpartition(".")[2] if "." in _bare(file) else ""


def _flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record, or what it holds under its only name, as in `{"translation": {"de": ..., "en": ...}}`."""
    inner = [value for name, value in values.items() if name != "id"]
    return inner[0] if len(inner) == 1 and isinstance(inner[0], dict) else values


def _holds_text(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    return len(texts) > len(values) / 2 and not all(_is_number(text) for text in texts)


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def is_language(name: str) -> bool:
    """Whether a name is a language's code, such as `de` or `pt-BR`."""
    found = _LANGUAGE.fullmatch(name)
    return found is not None and found[1] in textwrap.wrap(_CODES, 2)


def _looks_like_header(names: Sequence[str]) -> bool:
    return any(set(pair) <= set(names) for pair in _NAMED) or all(is_language(name) for name in names[:2])


def _listed(names: Any) -> str:
    found = list(names)
    return ", ".join(map(str, found[:8])) + (f" and {len(found) - 8} more" if len(found) > 8 else "") or "none"
