"""How files and folders hold pairs of texts: which files, which columns, and in which direction."""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.tables.rows import TABLES, read_head
from rondeau.data.texts.text_lines import read_lines, suffix_of
from rondeau.errors import ArgumentError, DataError, RondeauError

PARTS = {"train": "train", "val": "validation", "valid": "validation", "dev": "validation", "test": "test"}
_TABBED = (".tsv", ".tab", ".txt", "")
_NAMED = (("source", "target"), ("src", "tgt"), ("src", "trg"), ("input", "output"), ("question", "answer"))
_LONGER = 2.5  # words of one side to a word of the other, at most
_LANGUAGE = re.compile(r"([a-z]{2})([_-][A-Za-z]{2,4})?")
_CODES = (  # ISO 639-1, those with much text, two letters each
    "afamarazbebgbnbscacscydadeeleneoeseteufafifrgaglguhehihrhuhyidisitjakakkkmknkokylalbloltlvmkmlmnmrms"
    "mtmynenlnnnopaplpsptrorusiskslsqsrsvswtatetgthtltrukuruzviyizhzu"
)


class Layout(NamedTuple):
    """Which files hold the pairs, by part, and the sides' names; of tables `source` and `target` name the columns.

    A part is one file with both sides, or two with one each.
    """

    files: dict[str, tuple[Path, ...]]
    source: str
    target: str
    notes: list[str]


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
        if not root.is_dir() and suffix_of(root) not in (*TABLES, *_TABBED) and not is_language(ending(root)):
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
        if named:
            return f"columns {layout.source} and {layout.target}"
        return _alike(root, layout.source, layout.target)
    lines = [line.text.rstrip("\r\n") for line in islice(read_lines(root, faults=Faults("skip")), 50)]
    fields = [line.split("\t") for line in lines]
    sentences = all(len(one) > 1 and all(len(side.split()) > 1 for side in one[:2]) for one in fields)
    different = len({one[1] for one in fields if len(one) > 1}) > len(fields) / 2  # else the second is a class
    return "lines of two sentences with a tab between" if sentences and different else None


def _alike(table: Path, source: str, target: str) -> str | None:
    """Why a table's only two columns of texts look like two sides: few come twice, and none is much the longer."""
    records = [flat(record.values) for record in read_head(table).records]
    words = []
    for side in (source, target):
        texts = [str(record.get(side)) for record in records]
        words.append(sum(len(text.split()) for text in texts) / len(texts))
        if words[-1] < 2 or len(set(texts)) < len(texts) / 2:
            return None
    if max(words) > _LONGER * min(words):
        return None
    return f"its only columns of texts, {source!r} and {target!r}, hold texts of like length"


def has_sides(path: str | os.PathLike[str], sides: tuple[str, str], encoding: str = "utf-8") -> bool:
    """Whether files or columns of these names are there."""
    try:
        layout = find_pairs(path, sides[0], sides[1], encoding)
        return set(sides) == {layout.source, layout.target}
    except (ArgumentError, DataError):
        return False


def _in_folder(root: Path, source: str | None, target: str | None) -> Layout:
    files = [file for file in sorted(root.iterdir()) if file.is_file() and not file.name.startswith(".")]
    by_stem: dict[str, dict[str, Path]] = {}
    for file in files:
        if "." in _bare(file):
            by_stem.setdefault(_stem(file), {})[ending(file)] = file
    together = {stem: ends for stem, ends in by_stem.items() if len(ends) > 1}
    if not together:
        fix = "Give two files with equally many lines, such as train.de and train.en"
        raise DataError("a folder without pairs", expected="parallel files", got=listed(by_stem), fix=fix)
    counts = Counter(end for ends in together.values() for end in ends)
    source, target, notes = _direction(list(counts), source, target, str(root))
    chosen = {stem: (ends[source], ends[target]) for stem, ends in together.items() if {source, target} <= set(ends)}
    if not chosen:
        raise DataError(f"no files that differ in .{source} and .{target} alone", got=listed(together), where=root)
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
    own = ending(file)
    if not own or suffix_of(file) in (*TABLES, ".txt", ".tab"):
        return None
    others = {
        ending(other): other
        for other in sorted(file.parent.iterdir())
        if other != file and other.is_file() and _stem(other) == _stem(file) and ending(other) not in ("", own)
    }
    wanted = {name for name in (source, target) if name is not None and name != own}
    if wanted - set(others):
        raise ArgumentError("no file of that side", expected=listed(others), got=listed(wanted), where=file)
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
    names, records = head.columns, [flat(record.values) for record in head.records]
    if records and list(records[0]) != list(head.records[0].values):  # the sides are one level further in
        names = list(records[0])
    texts = [name for name in names if _holds_text([record.get(name) for record in records])]
    given = [name for name in (source, target) if name is not None]
    missing = [name for name in given if name not in names]
    if suffix_of(file) == ".tsv" and (missing or (not given and not _looks_like_header(names))):
        return None
    if missing:
        raise DataError("no such column", expected=listed(missing), got=listed(names), where=file)
    if source is not None and target is not None:
        return Layout({"train": (file,)}, source, target, [])
    named = next((list(pair) for pair in _NAMED if set(pair) <= set(names)), None)
    sides = named or [name for name in texts if is_language(name)]
    sides = sides if len(sides) == 2 else texts
    if len(sides) != 2:
        fix = "Name them: --source-language COLUMN --target-language COLUMN"
        raise DataError("which two columns are the pairs", expected="two of text", got=listed(texts), fix=fix)
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
            wanted = listed(name for name in (source, target) if name)
            raise DataError("no such column", expected=wanted, got=listed(named), where=file, fix=fix)
        source, target, notes = _direction(named, source, target, str(file), ordered=True)
        return Layout({"train": (file,)}, source, target, notes)
    return Layout({"train": (file,)}, "", "", ["the first of each line's columns is read, the second is written"])


def _direction(
    names: list[str], source: str | None, target: str | None, where: str, ordered: bool = False
) -> tuple[str, str, list[str]]:
    """Which side is read and which written: as told, into English, or in the order in which they come."""
    for name in (source, target):
        if name is not None and name not in names:
            raise ArgumentError("no such side", expected=listed(names), got=name, where=where)
    if source is not None and target is not None:
        return source, target, []
    left = [name for name in names if name not in (source, target)]
    if len(names) != 2:
        fix = "Say which: --source-language NAME --target-language NAME"
        raise ArgumentError("which two sides are the pairs", expected="two", got=listed(names), where=where, fix=fix)
    if source is None and target is None:
        english = [name for name in names if re.split("[-_]", name)[0] == "en"]
        target = english[0] if english and not ordered else names[1]
        source = next(name for name in names if name != target)
        why = "into English, as nothing else was said" if english and not ordered else "in the order in which they come"
        return source, target, [f"{source} is read and {target} written: {why}"]
    return source or left[0], target or left[0], []


def _stem(file: Path) -> str:
    return _bare(file).rpartition(".")[0]


def ending(file: Path) -> str:
    """The last suffix, without a dot and without `.gz`; "" for none."""
    return _bare(file).rpartition(".")[2] if "." in _bare(file) else ""


def _bare(file: Path) -> str:
    return file.name[:-3] if file.name.lower().endswith(".gz") else file.name


def is_language(name: str) -> bool:
    """Whether a name is a language's code, such as `de` or `pt-BR`."""
    found = _LANGUAGE.fullmatch(name)
    return found is not None and found[1] in textwrap.wrap(_CODES, 2)


def _looks_like_header(names: Sequence[str]) -> bool:
    return any(set(pair) <= set(names) for pair in _NAMED) or all(is_language(name) for name in names[:2])


def flat(values: Mapping[str, Any]) -> Mapping[str, Any]:
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


def listed(names: Any) -> str:
    """Some names in a line."""
    found = list(names)
    return ", ".join(map(str, found[:8])) + (f" and {len(found) - 8} more" if len(found) > 8 else "") or "none"
