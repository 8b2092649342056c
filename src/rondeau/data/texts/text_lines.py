"""Text files line by line, compressed or not, in any encoding, with errors that name the byte."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError

_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Line(NamedTuple):
    """A line with its number, counted from 1, and with the line break that ends it."""

    number: int
    text: str


def suffix_of(path: str | os.PathLike[str]) -> str:
    """The suffix in lower case, that of what is inside where it is compressed.

    >>> suffix_of("a/b.CSV.gz")
    '.csv'
    """
    name = Path(path).name.lower()
    return Path(name.removesuffix(".gz")).suffix


def stem_of(path: str | os.PathLike[str]) -> str:
    """The name without `.gz` and without the suffix.

    >>> stem_of("a/b.csv.gz")
    'b'
    """
    name = Path(path).name
    return Path(name[:-3] if name.lower().endswith(".gz") else name).stem


def checked_encoding(encoding: str) -> str:
    """The encoding by Python's name for it. Raises `ArgumentError` for an unknown one."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise ArgumentError(
            "encoding", expected="a name such as utf-8, latin-1, cp1252, utf-16", got=encoding
        ) from error
    return "utf-8" if name == "utf-8-sig" else name  # the mark is taken off anyhow


def open_bytes(path: str | os.PathLike[str]) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in `.gz`. Raises `DataError` for one that cannot be opened."""
    try:
        if str(path).lower().endswith(".gz"):
            return cast(IO[bytes], gzip.open(path, "rb"))
        return open(path, "rb")
    except OSError as error:
        raise DataError("a file cannot be read", got=error.strerror or error, where=path) from error


def read_lines(path: str | os.PathLike[str], encoding: str = "utf-8", faults: Faults | None = None) -> Iterator[Line]:
    """The lines of a file, one at a time; only a line feed ends one. A byte order mark is left out.

    A line that is not of this encoding is a fault; so is one with a NUL byte, as binary files have. Raises `DataError`
    for a file that cannot be read or unpacked to its end, `ArgumentError` for an unknown encoding.
    """
    faults = Faults() if faults is None else faults
    encoding = checked_encoding(encoding)
    if "\n".encode(encoding) != b"\n":
        yield from _wide_lines(path, encoding)
        return
    yield from decoded_lines(raw_lines(path), str(path), encoding, faults)


def decoded_lines(lines: Iterable[bytes], name: str, encoding: str, faults: Faults) -> Iterator[Line]:
    """Lines of bytes as text, as `read_lines` has them; `name` is where they are from, for messages."""
    offset = 0
    for number, raw in enumerate(lines, 1):
        if number == 1:
            raw = _without_mark(raw, encoding, name)
        text = _decoded(raw, encoding, f"{name}, line {number:,}", offset, faults)
        offset += len(raw)
        if text is not None:
            yield Line(number, text)


def read_whole(path: str | os.PathLike[str], encoding: str = "utf-8", faults: Faults | None = None) -> str | None:
    """A file's text; None where it cannot be decoded and faults are skipped. Line ends `\\r\\n` become `\\n`.

    Raises as `read_lines` does.
    """
    faults = Faults() if faults is None else faults
    encoding = checked_encoding(encoding)
    raw = _without_mark(b"".join(raw_lines(path)), encoding, path)
    text = _decoded(raw, encoding, str(path), 0, faults)
    return None if text is None else text.removeprefix("\ufeff").replace("\r\n", "\n")


def raw_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The lines of a file as they are, unpacked where `.gz`. `DataError` where it cannot be read to its end."""
    with open_bytes(path) as file:
        try:
            yield from file
        except (OSError, EOFError, zlib.error) as error:
            raise DataError("a file cannot be read to its end", got=error, where=path, fix="Fetch it again") from error


def _wide_lines(path: str | os.PathLike[str], encoding: str) -> Iterator[Line]:
    """Of an encoding in which a line feed is more than one byte: after a wrong byte nothing can be trusted."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding, newline="\n") as lines:
        number = 0
        try:
            for number, text in enumerate(lines, 1):
                yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)
        except UnicodeError as error:
            where = f"{path}, after line {number:,}"
            raise DataError(f"the text is not {encoding}", got=error, where=where, fix=_fix(encoding)) from error


def _without_mark(raw: bytes, encoding: str, path: str | os.PathLike[str]) -> bytes:
    for mark, meant in _BOMS.items():
        if raw.startswith(mark):
            if meant == "utf-8-sig":
                return raw[len(mark) :]
            fix = f"Give its encoding: --encoding {meant}"
            raise DataError(f"the text is not {encoding}", got=f"the byte order mark of {meant}", where=path, fix=fix)
    return raw


def _decoded(raw: bytes, encoding: str, where: str, offset: int, faults: Faults) -> str | None:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        at = error.start
        line = f", line {raw.count(10, 0, at) + 1:,}" if raw.count(10) > 1 else ""
        got = f"byte 0x{raw[at]:02x} at offset {offset + at:,} of the file{line}"
        faults.add(f"a text is not {encoding}", where=where, expected=encoding, got=got, fix=_fix(encoding))
        return None
    if "\0" in text:
        got = f"a NUL byte at offset {offset + raw.index(0):,} of the file"
        faults.add("a text holds NUL bytes", where=where, got=got, fix="Leave binary files out")
        return None
    return text


def _fix(encoding: str) -> str:
    other = "utf-8" if encoding != "utf-8" else "latin-1"
    return f"Say how it is written, such as --encoding {other}"
