"""FASTQ: four lines a record, the last of them a quality for each letter.

Cock et al. (2010), The Sanger FASTQ file format for sequences with quality scores, Nucleic Acids Research 38(6).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from rondeau.data.dna.records import SequenceRecord
from rondeau.data.faults import Faults
from rondeau.data.texts.text_lines import raw_lines

_BEST = 93  # of qualities that a printable letter can say, from "!" on


def read_fastq(path: str | os.PathLike[str], faults: Faults) -> Iterator[SequenceRecord]:
    """The records of a FASTQ file with qualities as Phred+33, one at a time, `.gz` too.

    Faults: a heading that does not begin with `@`, a third line without `+`, another number of qualities than letters,
    a quality that is none, and a record that the end of the file cuts short. After a heading that is none reading goes
    on at the next that is one and has a `+` two lines below.
    """
    lines = _Lines(path)
    while (heading := lines.next()) is not None:
        if not heading:
            continue
        where = f"{path}, line {lines.number:,}"
        if not heading.startswith(b"@"):
            faults.add(
                "a FASTQ heading does not begin with @", where=where, got=heading[:40].decode("utf-8", "replace")
            )
            lines.skip_to_heading()
            continue
        letters, plus, quality = lines.next(), lines.next(), lines.next()
        if letters is None or plus is None or quality is None:
            fix = "Fetch the file again"
            faults.add("a FASTQ record is cut short by the end of the file", where=where, fix=fix)
            return
        if not plus.startswith(b"+"):
            faults.add(
                "the third line of a FASTQ record has no +", where=where, got=plus[:40].decode("utf-8", "replace")
            )
            lines.give_back([plus, quality])
            lines.skip_to_heading()
            continue
        if len(quality) != len(letters):
            expected, got = f"{len(letters)} qualities", len(quality)
            faults.add("a record has another number of qualities than letters", where=where, expected=expected, got=got)
            continue
        values = np.frombuffer(quality, np.uint8).astype(np.int16) - 33
        if len(values) and not 0 <= values.min() <= values.max() <= _BEST:
            at = int(np.flatnonzero((values < 0) | (values > _BEST))[0])
            place = f"{where}, position {at + 1:,}"
            faults.add("a quality is none", where=place, expected="! to ~", got=repr(chr(quality[at])))
            continue
        name, _, rest = heading[1:].decode("utf-8", "replace").strip().partition(" ")
        yield SequenceRecord(name, letters, rest, values.astype(np.uint8), where=where)


class _Lines:
    """Lines without their ends, and the number of the last one; some can be given back."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lines = raw_lines(path)
        self._held: list[bytes] = []
        self.number = 0

    def next(self) -> bytes | None:
        """The next line; None at the end."""
        line = self._held.pop(0) if self._held else self._read()
        self.number += line is not None
        return line

    def _read(self) -> bytes | None:
        line = next(self._lines, None)
        return None if line is None else line.strip(b"\r\n \t")

    def give_back(self, lines: list[bytes]) -> None:
        """Lines that come again."""
        self._held = [*lines, *self._held]
        self.number -= len(lines)

    def skip_to_heading(self) -> None:
        """Go on before a line that begins with @, two lines before one that begins with +."""
        while True:
            while len(self._held) < 3:
                line = self._read()
                if line is None:
                    self._held, self.number = [], self.number + len(self._held)
                    return
                self._held.append(line)
            if self._held[0].startswith(b"@") and self._held[2].startswith(b"+"):
                return
            self._held.pop(0)
            self.number += 1
