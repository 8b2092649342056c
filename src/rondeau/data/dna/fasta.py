"""FASTA: a heading after `>`, then lines of letters."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator

from rondeau.data.dna.records import SequenceRecord
from rondeau.data.faults import Faults
from rondeau.data.texts.text_lines import open_bytes, raw_lines
from rondeau.errors import DataError

_NAMED = re.compile(r"(?:^|[\s|;,\[])(?:label|class)=(\"[^\"]*\"|[^\s|;,\]]+)", re.IGNORECASE)

_HEAD = 1 << 22  # bytes


def read_fasta(path: str | os.PathLike[str], faults: Faults) -> Iterator[SequenceRecord]:
    """The records of a FASTA file, one at a time, `.gz` too; lines that begin with `;` are comments.

    Fault: a heading without an id. Raises `DataError` for letters before the first heading, and for a file that cannot
    be read to its end.
    """
    heading, at, parts = None, 0, []  # type: str | None, int, list[bytes]
    for number, raw in enumerate(raw_lines(path), 1):
        line = raw.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else raw.strip()
        if line.startswith(b">"):
            if heading is not None:
                yield from _record(heading, parts, f"{path}, line {at:,}", faults)
            heading, at, parts = line[1:].decode("utf-8", "replace").strip(), number, []
        elif line and not line.startswith(b";"):
            if heading is None:
                got = line[:40].decode("utf-8", "replace")
                where = f"{path}, line {number:,}"
                raise DataError(
                    "there is no heading", expected="FASTA: a line that begins with >", got=got, where=where
                )
            parts.append(line.replace(b" ", b"") if b" " in line else line)
    if heading is not None:
        yield from _record(heading, parts, f"{path}, line {at:,}", faults)


def _record(heading: str, parts: list[bytes], where: str, faults: Faults) -> Iterator[SequenceRecord]:
    name, _, rest = heading.partition(" ")
    name, _, more = name.partition("\t")
    if not name:
        faults.add("a heading has no id", where=where, expected=">id")
        return
    yield SequenceRecord(name, b"".join(parts), f"{more} {rest}".strip(), where=where)


def head_of_fasta(path: str | os.PathLike[str], count: int) -> list[SequenceRecord]:
    """The first records, up to `count`, of the first megabytes; the last may be cut short. For a look: no faults."""
    try:
        with open_bytes(path) as file:
            raw = file.read(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("a file cannot be read", got=error, where=path) from error
    found = []
    for part in (b"\n" + raw.replace(b"\r", b"")).split(b"\n>")[1 : count + 1]:
        heading, _, body = part.partition(b"\n")
        name, _, rest = heading.decode("utf-8", "replace").replace("\t", " ").strip().partition(" ")
        found.append(SequenceRecord(name, body.replace(b"\n", b"").replace(b" ", b""), rest, where=str(path)))
    return found


def named_label(record: SequenceRecord) -> str | None:
    """The class that a heading names as `label=...` or `class=...`; None where it does not."""
    found = _NAMED.search(f"{record.id} {record.description}")
    return None if found is None else found.group(1).strip('"')


def second_word(record: SequenceRecord) -> str | None:
    """The word after the id, as in `>id label`; None where there is not exactly one."""
    words = record.description.split()
    return words[0] if len(words) == 1 else None
