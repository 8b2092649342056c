"""Documents with their classes, from folders, files and tables, one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.standard_input import NAME, first_line, standard_input, table_of_texts
from rondeau.data.tables.rows import TABLES, read_head, read_rows
from rondeau.data.texts.layouts import Columns, Layout, Place, find_columns, find_layout, guess_text
from rondeau.data.texts.text_lines import checked_encoding, decoded_lines, read_lines, read_whole, suffix_of
from rondeau.errors import ArgumentError, DataError


class Document(NamedTuple):
    """A text, its class (None where it is not known), what it belongs to, the part it comes in, and its place."""

    text: str
    label: str | None = None
    group: str | None = None
    part: str | None = None
    where: str = ""


class Labelled(NamedTuple):
    """Documents to come, in words how they were found, a table's columns; without one, whether a document is a whole
    file, and not a line."""

    documents: Iterator[Document]
    reason: str
    columns: Columns | None
    whole: bool | None = None


def read_labelled(
    path: str | os.PathLike[str],
    encoding: str = "utf-8",
    text_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    faults: Faults | None = None,
) -> Labelled:
    """Documents with classes; see `find_layout` for what is understood. Nothing is held but the one at hand.

    Args:
        encoding: of text files and of CSV and JSON; Parquet has its own.
        text_column, label_column: of a table; default: guessed, see `find_columns`.
        group: the column of what must not be divided, such as the author.
        faults: what is to happen to documents without text or class, and to all that the readers cannot read.

    Raises `DataError` and `ArgumentError`, before anything is read where the columns are wrong.
    """
    faults = Faults() if faults is None else faults
    layout = find_layout(path)
    if layout.kind != "table":
        for name, value in (("text_column", text_column), ("label_column", label_column), ("group", group)):
            if value is not None:
                raise ArgumentError(f"{name}: these are no tables", got=layout.reason, fix="Leave it out")
        return Labelled(_from_text(layout, encoding, faults), layout.reason, None, layout.kind == "document")
    first = layout.places[0].path
    columns = find_columns(read_head(first, encoding), first, text_column, label_column, group)
    wanted = [columns.text, columns.label, *([] if group is None else [group])]
    for place in layout.places:
        _check_columns(place, encoding, wanted)
    if group is not None and group in (columns.text, columns.label):
        raise ArgumentError("group: it is the column of the texts or of the classes", got=repr(group))
    reason = layout.reason + (f": {columns.reason}" if columns.reason else "")
    return Labelled(_from_tables(layout, encoding, columns, group, faults), reason, columns)


def read_texts(
    path: str,
    encoding: str = "utf-8",
    text_column: str | None = None,
    faults: Faults | None = None,
    whole: bool | None = None,
) -> Iterator[Document]:
    """Texts without classes, one after another: each record of a table, each file of a folder, each line of a file or
    of standard input (`-`), which is a table where its first line is a JSON object, or names the text column.

    Args:
        text_column: of a table; default, and where there is none of that name: `text`, or guessed.
        whole: whether a file is one document (True) or each line is (False), in a folder or alone.

    Documents without text come as they are: to each a prediction is wanted. Raises as `read_labelled` does.
    """
    faults = Faults() if faults is None else faults
    if path == "-":
        yield from _from_standard_input(encoding, text_column, faults)
        return
    root = Path(path)
    if not path or not root.exists():
        raise DataError("no such file or folder", expected="texts", got=path or "an empty path")
    folder = root.is_dir()
    files = sorted(f for f in root.rglob("*") if f.is_file() and not f.name.startswith(".")) if folder else [root]
    for file in files:
        name = file.relative_to(root).as_posix() if folder else file.name
        if suffix_of(file) in TABLES:
            yield from _texts_of_table(file, encoding, text_column, faults)
        elif folder if whole is None else whole:
            text = read_whole(file, encoding, faults)
            if text is not None:
                yield Document(text, where=name)
        else:
            for number, line in read_lines(file, encoding, faults):
                yield Document(line.rstrip("\r\n"), where=f"{name}, line {number:,}" if folder else f"line {number:,}")


def _from_standard_input(encoding: str, column: str | None, faults: Faults) -> Iterator[Document]:
    """Lines as they come; a table is copied into a file first, since its head is looked at before it is read."""
    first, lines = first_line()
    suffix = table_of_texts(first.decode(checked_encoding(encoding), "replace"), column)
    if suffix is None:
        for number, line in decoded_lines(lines, NAME, encoding, faults):
            yield Document(line.rstrip("\r\n"), where=f"line {number:,}")
        return
    with standard_input(first, suffix) as file:
        for document in _texts_of_table(file, encoding, column, faults):
            yield document._replace(where=document.where.removeprefix(f"{file.parent}{os.sep}"))


def _texts_of_table(root: Path, encoding: str, column: str | None, faults: Faults) -> Iterator[Document]:
    head = read_head(root, encoding)
    if column is None and "text" not in head.columns:
        column = guess_text(head, root)[0]
    elif column not in head.columns:
        if "text" not in head.columns:
            expected = ", ".join(map(repr, head.columns))
            what = "text_column: the table has no such column"
            raise ArgumentError(what, expected=expected, got=repr(column), where=root)
        column = "text"
    for record in read_rows(root, encoding, faults, [column]):
        text = _as_text(record.values.get(column), record.where, faults)
        if text is not None:
            yield Document(text, where=record.where)


def _from_text(layout: Layout, encoding: str, faults: Faults) -> Iterator[Document]:
    for path, kind, label, part in layout.places:
        if kind == "document":
            text = read_whole(path, encoding, faults)
            if text is not None:
                yield from _whole(Document(text, label, None, part, str(path)), faults)
        else:
            for number, line in read_lines(path, encoding, faults):
                where = f"{path}, line {number:,}"
                yield from _whole(Document(line.rstrip("\r\n"), label, None, part, where), faults)


def _from_tables(
    layout: Layout, encoding: str, columns: Columns, group: str | None, faults: Faults
) -> Iterator[Document]:
    wanted = [columns.text, columns.label, *([] if group is None else [group])]
    for path, _, _, part in layout.places:
        for values, where in read_rows(path, encoding, faults, wanted):
            text = _as_text(values.get(columns.text), where, faults)
            if text is None:
                continue
            label = _as_label(values.get(columns.label))
            if label is None:
                faults.add("a document has no class", where=where, expected=f"a value in column {columns.label!r}")
                continue
            own = None if group is None else str(values.get(group))
            yield from _whole(Document(text, label, own, part, where), faults)


def _whole(document: Document, faults: Faults) -> Iterator[Document]:
    if document.text.strip():
        yield document
    else:
        faults.add("an empty document", where=document.where, expected="text")


def _as_text(value: Any, where: str, faults: Faults) -> str | None:
    """A record's text; a number counts as one. None for a fault."""
    if value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value)
    faults.add("the text of a record is none", where=where, expected="a string", got=type(value).__name__)
    return None


def _as_label(value: Any) -> str | None:
    """A class as a word; 1.0, as tables with gaps have it, is 1. None where there is none."""
    if value is None or value != value or not str(value).strip():
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_columns(place: Place, encoding: str, wanted: list[str]) -> None:
    columns = read_head(place.path, encoding).columns
    for name in wanted:
        if name not in columns:
            expected = ", ".join(map(repr, columns))
            raise ArgumentError("the table has no such column", expected=expected, got=repr(name), where=place.path)
