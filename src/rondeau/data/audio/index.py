"""What recordings there are: their places, classes, transcripts and speakers, gone through once."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.columns import Codes, Texts
from rondeau.data.audio.read import Header, Samples, is_silent, read_header, read_own_rate
from rondeau.data.faults import Faults
from rondeau.data.progress import Meter
from rondeau.errors import DataError


class Recording(NamedTuple):
    """One recording, or a part of one.

    Attributes:
        path: its file; label, text, speaker, part: its class, transcript, speaker, and 'train', 'validation' or 'test'
            where the data come divided; None where not given.
        frames: samples of each channel, of the whole file; rate: samples a second.
        start, end: seconds of the file between which it lies; `end` None: to the file's end.
    """

    path: Path
    label: str | None = None
    text: str | None = None
    speaker: str | None = None
    part: str | None = None
    frames: int = 0
    rate: int = 0
    start: float = 0.0
    end: float | None = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        whole = self.frames / self.rate if self.rate else 0.0
        return max((whole if self.end is None else min(self.end, whole)) - self.start, 0.0)


class AudioIndex(Sequence[Recording]):
    """Recordings by number; of each some tens of bytes are in memory, whatever its length.

    Attributes:
        root: the folder that paths are relative to.
        labels, speakers, parts: of each recording, as `Codes`; notes: what was decided on the way, in words.

    `index.take(rows)` is some of them; `index.seconds` how long each is.
    """

    def __init__(self, root: Path, notes: Iterable[str] = ()) -> None:
        self.root, self.notes = root, list(notes)
        self._paths, self._texts = Texts(), Texts()
        self.labels, self.speakers, self.parts = Codes(), Codes(), Codes()
        self._frames, self._rates = array("q"), array("i")
        self._starts, self._ends = array("d"), array("d")
        self._hashes = array("Q")  # of the samples, 0 where these were not read

    def add(self, one: Recording, samples: int = 0) -> None:
        """Append a recording, with a hash of its samples where that is known."""
        self._hashes.append(samples)
        self._paths.add(relative(one.path, self.root))
        self._texts.add(one.text)
        for codes, word in ((self.labels, one.label), (self.speakers, one.speaker), (self.parts, one.part)):
            codes.add(word)
        self._frames.append(one.frames)
        self._rates.append(one.rate)
        self._starts.append(one.start)
        self._ends.append(np.nan if one.end is None else one.end)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, number: int) -> Recording: ...
    @overload
    def __getitem__(self, number: slice) -> AudioIndex: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return self.take(range(*number.indices(len(self))))
        index = int(number) + (len(self) if number < 0 else 0)
        if not 0 <= index < len(self):
            raise IndexError(number)  # as a list does
        end = self._ends[index]
        return Recording(
            self.root / (self._paths[index] or ""),
            self.labels[index],
            self._texts[index],
            self.speakers[index],
            self.parts[index],
            self._frames[index],
            self._rates[index],
            self._starts[index],
            None if end != end else end,
        )

    def take(self, rows: Iterable[int] | NDArray[Any]) -> AudioIndex:
        """These recordings, in this order."""
        found = AudioIndex(self.root, self.notes)
        for row in rows:
            found.add(self[int(row)], self._hashes[int(row)])
        return found

    def key(self, number: int) -> Any:
        """The same for recordings that are the same: by their samples where these were read, else by path and part."""
        found = self._hashes[number]
        return found or (self._paths[number], self._starts[number])

    def where(self, number: int) -> str:
        """A recording's path as the data give it."""
        return self._paths[number] or ""

    @property
    def rates(self) -> NDArray[np.int32]:
        """Samples a second of each, `(recordings,)`."""
        return np.array(self._rates, np.int32)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The length of each, `(recordings,)`."""
        whole = np.array(self._frames, np.float64) / np.maximum(np.array(self._rates), 1)
        ends = np.array(self._ends)
        stops = np.where(np.isnan(ends), whole, np.fmin(ends, whole))
        return np.asarray(np.maximum(stops - np.array(self._starts), 0.0))

    def digest(self) -> str:
        """Tells these recordings from others, by names, answers and lengths; not by their samples."""
        found = hashlib.blake2b(digest_size=16)
        for number in range(len(self)):
            one = self[number]
            found.update(repr((self.where(number), *one[1:])).encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def indexed(
    recordings: Iterable[Recording],
    root: Path,
    faults: Faults | None = None,
    listen: bool = False,
    total: int | None = None,
    notes: Iterable[str] = (),
) -> AudioIndex:
    """Recordings with their lengths and rates, from the headers of their files.

    Args:
        faults: what becomes of files that are corrupt, empty or truncated (default: `DataError`).
        listen: read the samples too, once: finds silent recordings, and compressed files that end too soon.
        total: how many there are, for the progress that is shown.
    """
    faults = Faults() if faults is None else faults
    index = AudioIndex(root, notes)
    known: tuple[Path, Header] | None = None  # the parts of one file come one after another
    with Meter("listening to recordings" if listen else "indexing recordings", total, "files") as meter:
        for one in recordings:
            meter.advance()
            try:
                if known is None or known[0] != one.path:
                    known = one.path, read_header(one.path)
                header = known[1]
                one = one._replace(frames=header.frames, rate=header.rate)
                found = _listen(one) if listen else 0
            except DataError as error:
                where = relative(one.path, root)
                faults.add(error.what, where=where, got=error.got, expected=error.expected)
                continue
            index.add(one, found)
    return index


def _listen(one: Recording) -> int:
    """A hash of the samples. Raises `DataError` for what cannot be used."""
    samples, rate = read_recording_at_own_rate(one)
    wanted = round(one.seconds * rate)
    if len(samples) < wanted - 1 and one.path.suffix.lower() != ".mp3":  # an mp3's header may only estimate
        raise DataError("a sound file is truncated", expected=f"{wanted:,} samples", got=f"{len(samples):,}")
    if not len(samples):
        raise DataError("a recording has no samples", expected="an end after its start", got=f"{one.start} s on")
    if is_silent(samples):
        raise DataError("a recording is silent", got=f"no sample above {float(np.abs(samples).max()):.1g}")
    return int.from_bytes(hashlib.blake2b(samples.tobytes(), digest_size=8).digest(), "little") or 1


def read_recording_at_own_rate(one: Recording) -> tuple[Samples, int]:
    """A recording's samples, `(samples,)`, and their rate; of a part only that part."""
    return read_own_rate(one.path, one.start, one.end)


def relative(path: Path, root: Path) -> str:
    """A path below a folder as it is told to a user; whole where it lies elsewhere."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)
