"""The lines of a large file, or the records of a CSV file: found once, then any of them read at once."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.cache import fingerprint, key_of, place, written_aside
from rondeau.data.disk.mapped import Pages, mapped
from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.errors import ArgumentError, DataError

_BLOCK = 1 << 24  # bytes read at once
LONGEST = 1 << 22  # bytes of a record with line breaks in it; a quote that is open for longer was never closed
_BOM = b"\xef\xbb\xbf"

Offsets = NDArray[np.int64]


class Lines:
    """A UTF-8 file's lines, in constant memory: `len(lines)`, `lines[i]`, `for line in lines`.

    Where they begin is found in one pass, and written to the cache folder for the next time; a file that has changed
    since (in size, time, or at its ends) is gone through again. A file that ends in `.gz` is unpacked there first.
    Lines come without their line break; `\\r\\n` is one. A blank line is a line; nothing follows the last line break.

    Args:
        path: the file.
        delimiter: what stands between fields, for a CSV file: then a line break inside of quotes belongs to its record,
            as Python's `csv` reads it (default: a line is a line, as in text and JSONL).
        faults: what becomes of a line that is not UTF-8, or a quote that is never closed (default: `DataError`).
        cache: folder to keep what was found in (default: see `rondeau.data.disk.cache.folder`).

    Raises `DataError` for a file that cannot be read or unpacked.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.csv").write_text('name,text\\nx,"two\\nlines"\\n')
    >>> lines = Lines(folder / "a.csv", delimiter=",", cache=folder)
    >>> len(lines), lines[1], lines.fields(1)
    (2, 'x,"two\\nlines"', ['x', 'two\\nlines'])
    """

    def __init__(
        self,
        path: str | PathLike[str],
        delimiter: str | None = None,
        faults: Faults | None = None,
        cache: str | PathLike[str] | None = None,
    ) -> None:
        if delimiter is not None and (len(delimiter.encode()) != 1 or delimiter in '"\r\n'):
            raise ArgumentError("Lines: delimiter", expected="one ASCII character", got=repr(delimiter))
        self.path, self.delimiter, self.faults = Path(path), delimiter, faults or Faults()
        if not self.path.is_file():
            raise DataError("no such file", got=str(self.path))
        self.file = unpacked(self.path, cache) if self.path.suffix == ".gz" else self.path
        self.index = place(f"{key_of(fingerprint(self.file), delimiter)}.lines", cache)
        if _is_index(self.index, self.file.stat().st_size):
            self._tell_again()
        else:
            self._write()
        self._map()

    def _map(self) -> None:
        self.offsets: Offsets = mapped(self.index, np.int64)
        self._pages = Pages(self.offsets)

    def _write(self) -> None:
        with written_aside(self.index) as aside, aside.open("wb") as written:
            written.write(np.zeros(1, np.int64).tobytes())
            for ends in self._found():
                written.write(ends.tobytes())

    def _tell_again(self) -> None:
        """What was wrong when the index was made is wrong still."""
        bad = self.index.with_suffix(".bad")
        for line in np.fromfile(bad, np.int64).tolist() if bad.exists() else []:
            _never_closed(self.faults, self.path, line)

    def _found(self) -> Iterator[Offsets]:
        """Where lines end, in the order of the file."""
        size = self.file.stat().st_size
        with self.file.open("rb") as file, Meter(f"indexing {self.path.name}", size, "B") as meter:
            blocks = _metered(file, meter)
            if self.delimiter is None:
                yield from _line_ends(blocks)
            else:
                records = _Records(self.delimiter, self.faults, self.path)
                yield from records.ends(blocks)
                if records.bad:
                    with written_aside(self.index.with_suffix(".bad")) as aside:
                        np.array(records.bad, np.int64).tofile(aside)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> str:
        count = len(self)
        if not -count <= number < count:
            raise IndexError(number)  # as a list does
        number %= count
        return self._text(self.span(number, number + 1), number)

    def fields(self, number: int) -> list[str]:
        """A record's fields, as Python's `csv` divides it."""
        return fields_of(self[number], self.delimiter or ",")

    def span(self, begin: int, end: int) -> bytes:
        """The bytes of the lines `begin` to `end - 1`, line breaks and all: what a parser of whole tables takes."""
        first, last = int(self.offsets[begin]), int(self.offsets[end])
        self._pages.looked(2, 0)
        with self.file.open("rb") as file:  # anew each time: threads and processes may read at once
            file.seek(first)
            found = file.read(last - first)
        if len(found) < last - first:
            raise DataError("the file has become shorter", where=self.path)
        return found[len(_BOM) :] if begin == 0 and found.startswith(_BOM) else found

    def __iter__(self) -> Iterator[str]:
        return (line for _, line in self.read())

    def read(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, str]]:
        """The lines `begin` to `end - 1` in their order, each with its number from 0; bad ones go to `faults`."""
        end = len(self) if end is None else end
        while begin < end:
            wanted = int(self.offsets[begin]) + (_BLOCK >> 2)
            stop = min(max(int(np.searchsorted(self.offsets, wanted)), begin + 1), end)
            cuts = np.array(self.offsets[begin : stop + 1])
            self._pages.looked(64, cuts.nbytes)
            block = self.span(begin, stop)
            shift = int(cuts[-1]) - len(block)  # a byte order mark was taken away
            places = np.maximum(cuts - shift, 0).tolist()
            for number, first, last in zip(range(begin, stop), places[:-1], places[1:], strict=True):
                line = block[first:last]
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    self.faults.add(**_not_utf8(self.path, number, line, error))
                    continue
                yield number, _without_break(text)
            begin = stop

    def _text(self, line: bytes, number: int) -> str:
        try:
            return _without_break(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(**_not_utf8(self.path, number, line, error)) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pages": None, "offsets": None}  # another process maps the file itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def fields_of(record: str, delimiter: str = ",") -> list[str]:
    """The fields of one CSV record; [] of a blank one. Raises `DataError` where `csv` cannot divide it."""
    try:
        return next(csv.reader([record], delimiter=delimiter), [])
    except csv.Error as error:
        raise DataError("a record that is no CSV", got=error) from error


def unpacked(path: str | PathLike[str], cache: str | PathLike[str] | None = None) -> Path:
    """The contents of a `.gz` file, as a file in the cache folder; made once. Raises `DataError` for a damaged one."""
    path = Path(path)
    target = place(f"{key_of(fingerprint(path), 'unpacked')}.{path.stem}", cache)
    if not target.exists():
        size = path.stat().st_size
        try:
            with (
                path.open("rb") as packed,
                gzip.open(packed) as file,
                Meter(f"unpacking {path.name}", size, "B") as meter,
                written_aside(target) as aside,
                aside.open("wb") as out,
            ):
                for block in iter(partial(file.read, _BLOCK), b""):
                    out.write(block)
                    meter.advance(packed.tell() - meter.done)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError("a damaged .gz file", got=error, where=path) from error
    return target


def _metered(file: BinaryIO, meter: Meter) -> Iterator[bytes]:
    for block in iter(partial(file.read, _BLOCK), b""):
        yield block
        meter.advance(len(block))


def _is_index(path: Path, size: int) -> bool:
    """Whether this is the index of a file of so many bytes."""
    if not path.is_file() or path.stat().st_size % 8 or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-8, 2)
        return int(np.frombuffer(file.read(), np.int64)[0]) == size


def _line_ends(blocks: Iterator[bytes]) -> Iterator[Offsets]:
    base, ended = 0, True
    for block in blocks:
        yield np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + (base + 1)
        base, ended = base + len(block), block.endswith(b"\n")
    if not ended:
        yield np.array([base])


class _Records:
    """Where the records of a CSV file end: at line breaks that stand in no quotes.

    A quote opens where a field begins with it, and is closed by the next that is not doubled; any other is a letter.
    """

    def __init__(self, delimiter: str, faults: Faults, path: Path) -> None:
        self.faults, self.path = faults, path
        other = rb"[^" + re.escape(delimiter.encode()) + rb"]*"
        inside = rb'[^"]*(?:""[^"]*)*"(?!")'
        field = rb'(?:"' + inside + other + rb'|(?!")' + other + rb")"
        more = rb"(?:" + re.escape(delimiter.encode()) + field + rb")*"
        self.whole = re.compile(field + more)
        self.closing = re.compile(inside)
        self.rest = re.compile(other + more)
        self.lines = 0  # before the block
        self.bad: list[int] = []  # lines, from 1, with a quote that is never closed

    def ends(self, blocks: Iterator[bytes]) -> Iterator[Offsets]:
        """Blocks of a file -> where records end in it."""
        base, data = 0, b""
        for block in blocks:
            data += block
            ends, used = self._of(data, last=False)
            yield ends + base
            base, data = base + used, data[used:]
        yield self._of(data, last=True)[0] + base

    def _of(self, data: bytes, last: bool) -> tuple[Offsets, int]:
        """The ends within `data`, which begins with a record, and how much of it they cover."""
        numbers = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(numbers == 10) + 1
        if last and len(data) and not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        kept = np.ones(len(ends), bool)
        quoted = np.unique(np.searchsorted(ends, np.flatnonzero(numbers == 34), side="right"))
        open_line = self._walk(data, ends, quoted[quoted < len(ends)].tolist(), kept, last)
        covered = len(ends) if open_line is None else open_line
        self.lines += covered
        ends = ends[:covered][kept[:covered]]
        return ends, int(ends[-1]) if len(ends) else 0

    def _walk(self, data: bytes, ends: Offsets, quoted: list[int], kept: NDArray[np.bool_], last: bool) -> int | None:
        """Take line breaks inside quotes out of `kept`; gives the line whose quote may be closed by what comes next."""
        opened: int | None = None
        begin = at = 0  # of the open record; in `quoted`
        while at < len(quoted) or opened is not None:
            number = quoted[at] if at < len(quoted) else len(ends) - 1
            if opened is not None and (at == len(quoted) or int(ends[number]) - begin > LONGEST):
                if not last and len(data) - begin <= LONGEST:
                    return opened
                self.bad.append(self.lines + opened + 1)
                _never_closed(self.faults, self.path, self.bad[-1])
                at, opened = bisect_right(quoted, opened), None  # its line is a record of its own
                continue
            line = data[int(ends[number - 1]) if number else 0 : int(ends[number])]
            if opened is None and not self.whole.fullmatch(line):
                opened, begin = number, int(ends[number]) - len(line)
            elif opened is not None:
                found = self.closing.match(line)
                if found and self.rest.fullmatch(line, found.end()):
                    kept[opened:number] = False
                    opened = None
            at += 1
        return None


def _never_closed(faults: Faults, path: Path, line: int) -> None:
    fix = "Double a quote that is a letter, or close it"
    faults.add("a quote is never closed", where=f"{path}, line {line}", fix=fix)


def _not_utf8(path: Path, number: int, line: bytes, error: UnicodeDecodeError) -> dict[str, Any]:
    got = f"byte 0x{line[error.start]:02x}"
    fix = "Convert it first, as by iconv -f LATIN1 -t UTF-8"
    where = f"{path}, line {number + 1}"
    return {"what": "not UTF-8 text", "expected": "UTF-8", "got": got, "where": where, "fix": fix}


def _without_break(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
