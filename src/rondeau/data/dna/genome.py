"""Genomes on disk: two bits a base, whatever else there is as runs beside them; read once, then in windows."""

from __future__ import annotations

import contextlib
import json
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.cache import fingerprint, key_of, place, written_aside
from rondeau.data.disk.mapped import Pages, mapped
from rondeau.data.dna.alphabets import DNA, ILLEGAL, Alphabet, Codes
from rondeau.data.dna.records import SequenceRecord, illegal_letter
from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.data.texts.text_lines import open_bytes
from rondeau.errors import CheckpointError, DataError

FORMAT, VERSION = "rondeau-genome", 1
_BLOCK = 1 << 22  # bytes of the file read at once
_BLANKS = b"\r\n \t"
_UNPACKED = np.array([sum(((byte >> 2 * i) & 3) << 8 * i for i in range(4)) for byte in range(256)], "<u4")


class Genome:
    """What `index_genome` wrote.

    Attributes:
        alphabet: DNA or RNA; names: ids of the records, in order; lengths: bases of each.
        digest: tells it from others.

    `read(record, begin, end)` gives the numbers of some symbols; nothing else is in memory.
    """

    qualities = tagged = False

    def __init__(self, folder: str | os.PathLike[str], alphabet: Alphabet = DNA) -> None:
        self.folder, self.alphabet = Path(folder), alphabet
        try:
            told = json.loads((self.folder / "genome.json").read_text(encoding="utf-8"))
            if told["format"] != FORMAT or told["version"] > VERSION:
                raise ValueError(f"{told['format']} {told['version']}")
            self.names: list[str] = told["names"]
            self.lengths = np.array(told["lengths"], np.int64)
            self.digest: str = told["digest"]
            self._starts = np.array(told["starts"], np.int64)  # bytes
            self._bases = mapped(self.folder / "bases.bin", np.uint8)
            self._runs = mapped(self.folder / "runs.bin", np.int64).reshape(-1, 3)  # begin, end, symbol
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError("there is no genome", where=self.folder, got=error) from error
        self._ends = np.ascontiguousarray(self._runs[:, 1])
        self._pages = Pages(self._bases, self._runs)

    def __len__(self) -> int:
        return len(self.names)

    def id(self, row: int) -> str:
        """The id of a record."""
        return self.names[row]

    def read(self, row: int, begin: int = 0, end: int | None = None) -> Codes:
        """The symbols `begin` to before `end` of a record, uint8; what is beyond its end is left out."""
        stop = int(self.lengths[row]) if end is None else min(end, int(self.lengths[row]))
        begin = min(max(begin, 0), stop)
        first = 4 * int(self._starts[row])
        low, high = first + begin, first + stop
        packed = np.asarray(self._bases)[low // 4 : -(-high // 4)]
        self._pages.looked(1, len(packed))
        codes: Codes = _UNPACKED[packed].view(np.uint8)[low % 4 : low % 4 + stop - begin]
        at = int(np.searchsorted(self._ends, low, "right"))
        while at < len(self._runs) and self._runs[at, 0] < high:
            left, right, symbol = self._runs[at].tolist()
            codes[max(left, low) - low : max(right - low, 0)] = symbol
            at += 1
        return codes

    def __reduce__(self) -> tuple[type[Genome], tuple[Path, Alphabet]]:
        return Genome, (self.folder, self.alphabet)  # another process maps the files itself


def index_genome(
    paths: Sequence[str | os.PathLike[str]],
    alphabet: Alphabet = DNA,
    faults: Faults | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Genome:
    """The records of FASTA files (`.gz` too) as a `Genome`, read once in constant memory, and found again after that.

    Args:
        folder: where it is put (default: the cache folder, by what tells the files apart).

    Faults: an illegal letter, named by record and position; an id that comes twice; a record without letters. Such a
    record is left out where faults are skipped. Raises `DataError` where nothing is left, or a file cannot be read.
    """
    faults = Faults() if faults is None else faults
    key = key_of("genome", VERSION, alphabet.name, faults.on_error, *map(fingerprint, paths))
    where = place(f"genome-{key}") if folder is None else Path(folder)
    if folder is None and (where / "genome.json").is_file():
        _tell_again(where, faults)
        return Genome(where, alphabet)
    with written_aside(where) as aside:
        aside.mkdir()
        with contextlib.ExitStack() as stack:
            bases = stack.enter_context((aside / "bases.bin").open("w+b", buffering=1 << 20))
            runs = stack.enter_context((aside / "runs.bin").open("w+b", buffering=1 << 20))
            writer = _Writer(bases, runs, alphabet, faults)
            for path in paths:
                _read(path, writer)
        if not writer.names:
            raise DataError("there are no sequences", expected="FASTA records with letters", where=paths[0])
        told = {"format": FORMAT, "version": VERSION, "names": writer.names, "lengths": list(writer.lengths)}
        told |= {"starts": list(writer.starts), "digest": key, "skipped": faults.to_json()}
        (aside / "genome.json").write_text(json.dumps(told), encoding="utf-8")
    return Genome(where, alphabet)


def _tell_again(folder: Path, faults: Faults) -> None:
    told = json.loads((folder / "genome.json").read_text(encoding="utf-8"))
    for what, kind in told.get("skipped", {}).items():
        for number in range(kind["count"]):
            faults.add(what, where=kind["places"][min(number, len(kind["places"]) - 1)])


def _read(path: str | os.PathLike[str], writer: _Writer) -> None:
    """Headings and letters of a file to the writer, block by block."""
    packed = str(path).lower().endswith(".gz")
    total = None if packed else os.path.getsize(path)
    heading, fresh, lines = b"", True, 1  # what is there of a heading that goes on; whether a line begins here
    with open_bytes(path) as file, Meter(f"reading {Path(path).name}", total, "B") as meter:
        while block := _block(file, path):
            meter.advance(len(block))
            at = 0
            while at < len(block):
                if heading or (fresh and block[at] == 62):  # >
                    end = block.find(b"\n", at)
                    heading += block[at : len(block) if end < 0 else end]
                    at = len(block) if end < 0 else end + 1
                    if end >= 0:
                        writer.begin(heading[1:].decode("utf-8", "replace").strip(), f"{path}, line {lines:,}")
                        heading, fresh, lines = b"", True, lines + 1
                    continue
                end = block.find(b"\n>", at)
                stop = len(block) if end < 0 else end + 1
                writer.add(block[at:stop], path)
                lines += block.count(b"\n", at, stop)
                at, fresh = stop, block[stop - 1] == 10
        if heading:
            writer.begin(heading[1:].decode("utf-8", "replace").strip(), f"{path}, line {lines:,}")
        writer.finish()


def _block(file: IO[bytes], path: Any) -> bytes:
    try:
        return file.read(_BLOCK)
    except (OSError, EOFError) as error:
        raise DataError("a file cannot be read to its end", got=error, where=path, fix="Fetch it again") from error


class _Writer:
    """Records as they come; each begins at a byte of its own, so that one that turns out bad can be taken back."""

    def __init__(self, bases: IO[bytes], runs: IO[bytes], alphabet: Alphabet, faults: Faults) -> None:
        self.bases, self.runs, self.alphabet, self.faults = bases, runs, alphabet, faults
        self.names: list[str] = []
        self.lengths, self.starts = array("q"), array("q")
        self._known: set[str] = set()
        self._name, self._where = "", ""
        self._open = self._dropped = False
        self._start = self._length = self._runs_at = 0
        self._rest = np.zeros(0, np.uint8)
        self._run: tuple[int, int, int] | None = None  # one that may go on

    def begin(self, heading: str, where: str) -> None:
        """A new record."""
        self.finish()
        self._name, self._where = (heading.split() or [""])[0], where
        self._open, self._dropped = True, False
        self._start, self._length, self._runs_at = self.bases.tell(), 0, self.runs.tell()
        if not self._name:
            self.faults.add("a heading has no id", where=where, expected=">id")
            self._dropped = True
        elif self._name in self._known:
            fix = "Give each record an id of its own"
            self.faults.add("an id comes twice", where=where, got=repr(self._name), fix=fix)
            self._dropped = True

    def add(self, body: bytes, path: Any) -> None:
        """Letters of the record that has begun, and blanks."""
        raw = body.translate(self.alphabet.table, _BLANKS)
        if not raw or self._dropped:
            return
        if not self._open:
            got = body[:40].decode("utf-8", "replace")
            raise DataError("there is no heading", expected="FASTA: a line that begins with >", got=got, where=path)
        bad = raw.find(ILLEGAL)
        if bad >= 0:
            letter = body.translate(None, _BLANKS)[bad : bad + 1]
            record = SequenceRecord(self._name, letter, where=self._where)
            said = illegal_letter(record, self.alphabet, 0)
            said["where"] = f"{self._where} ({self._name!r}), position {self._length + bad + 1:,}"
            self.faults.add("a letter is not of the alphabet", **said)
            self._take_back()
            return
        codes = np.frombuffer(raw, np.uint8)
        if codes.max() > 3:
            codes = self._without_runs(codes)
        self._length += len(codes)
        together = np.concatenate([self._rest, codes]) if len(self._rest) else codes
        whole = len(together) // 4 * 4
        self.bases.write(_packed(together[:whole]))
        self._rest = together[whole:].copy()

    def _without_runs(self, codes: Codes) -> Codes:
        """Note runs of other symbols than the four bases; where they stand is 0."""
        other = np.where(codes > 3, codes, 0)
        edges = np.flatnonzero(np.diff(other, prepend=0, append=0))
        first = 4 * self._start + self._length
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            symbol = int(other[begin])
            if not symbol:
                continue
            if self._run is not None and self._run[1:] == (first + begin, symbol):
                self._run = (self._run[0], first + end, symbol)
            else:
                self._flush_run()
                self._run = (first + begin, first + end, symbol)
        return np.where(codes > 3, 0, codes).astype(np.uint8)

    def _flush_run(self) -> None:
        if self._run is not None:
            self.runs.write(np.array(self._run, np.int64).tobytes())
        self._run = None

    def _take_back(self) -> None:
        self.bases.seek(self._start)
        self.bases.truncate()
        self.runs.seek(self._runs_at)
        self.runs.truncate()
        self._rest, self._run, self._dropped = np.zeros(0, np.uint8), None, True

    def finish(self) -> None:
        """The record that has begun is over."""
        if self._open and not self._dropped:
            if not self._length:
                where = f"{self._where} ({self._name!r})"
                self.faults.add("a record has no sequence", where=where, fix="Take it out")
            else:
                self.bases.write(_packed(np.concatenate([self._rest, np.zeros(-len(self._rest) % 4, np.uint8)])))
                self.names.append(self._name)
                self._known.add(self._name)
                self.lengths.append(self._length)
                self.starts.append(self._start)
            self._flush_run()
        self._rest, self._open = np.zeros(0, np.uint8), False


def _packed(codes: Codes) -> bytes:
    """Four bases a byte, the first in the lowest bits."""
    four: NDArray[Any] = np.ascontiguousarray(codes).view("<u4")
    return bytes(((four | four >> 6 | four >> 12 | four >> 18) & 0xFF).astype(np.uint8).data)
