"""Time series in the `.ts` format of the UEA and UCR archives: one labelled series of one or more channels a line."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.errors import DataError

SUFFIXES = (".ts", ".ts.gz")
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True, eq=False)
class Series:
    """One series: its `values` `(steps, channels)`, float32, NaN where missing, and its class or target.

    `label`: the class, None where there is none. `target`: the number that a regression is after. `where`: its place.
    """

    values: NDArray[np.float32]
    label: str | None = None
    target: float | None = None
    where: str = ""

    def digest(self) -> str:
        """Tells these values from any others; the label has no part in it."""
        shape = repr(self.values.shape).encode()
        values = np.where(np.isnan(self.values), np.float32(np.nan), self.values + np.float32(0))  # one NaN, one zero
        return hashlib.blake2b(shape + values.astype("<f4").tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Header:
    """What stands above `@data`.

    `classes`: in the order of the file, None where there are none. `regression`: numbers stand in their place.
    `channels`: None where the file does not say. `length`: the steps of every series, None where they differ.
    """

    name: str
    channels: int | None
    classes: tuple[str, ...] | None
    regression: bool
    length: int | None
    first_line: int


def read_ts(path: str | Path, faults: Faults | None = None, labelled: bool = True) -> tuple[Header, list[Series]]:
    """The header and all series of a `.ts` or `.ts.gz` file.

    Args:
        faults: what a line that cannot be read does (default: the reading fails there).
        labelled: whether a class or target is needed; without, lines may have none.

    Raises `DataError` for a file that is missing, no text, has no `@data`, or has time stamps of its own; and, unless
    faults are skipped, for a line that does not fit, naming file and line.
    """
    faults = Faults() if faults is None else faults
    with _opened(Path(path)) as file:
        header = _header(file, Path(path))
    series = list(iter_ts(path, faults, labelled))
    if not series:
        raise DataError("there is no series in the file", where=path, expected="lines below @data")
    return header, series


def iter_ts(path: str | Path, faults: Faults | None = None, labelled: bool = True) -> Iterator[Series]:
    """The series of a file one after the other; arguments and errors as `read_ts`."""
    faults = Faults() if faults is None else faults
    with _opened(Path(path)) as file:
        header = _header(file, Path(path))
        channels = header.channels
        for number, raw in enumerate(file, header.first_line):
            where = f"{path}, line {number}"
            line = _text(raw, where, faults)
            if line is None or not line or line[0] in "#%":
                continue
            found = _series(line, header, channels, where, faults, labelled)
            if found is not None:
                channels = found.values.shape[1]
                yield found


def has_targets(path: Path) -> bool:
    """Whether a file's header says that a number stands behind each series; false for one that cannot be read."""
    try:
        with _opened(path) as file:
            return _header(file, path).regression
    except DataError:
        return False


def own_split(path: Path) -> tuple[Path, Path] | None:
    """`NAME_TRAIN.ts` and `NAME_TEST.ts` where a folder, or the folder of one of the two, has both; else None.

    Raises `DataError` for a folder with several such pairs.
    """
    if path.is_file():
        stem, _, part = path.name[: -len(_suffix(path))].rpartition("_")
        pairs = _pairs(path.parent, f"{stem}_") if part.upper() in ("TRAIN", "TEST") and _suffix(path) else []
    else:
        pairs = _pairs(path, "")
    if len(pairs) > 1:
        names = ", ".join(train.name for train, _ in pairs[:4])
        fix = "Give the path of one of these files"
        raise DataError("the folder has several data sets", expected="one", got=names, where=path, fix=fix)
    return pairs[0] if pairs else None


def ts_files(path: Path) -> list[Path]:
    """The `.ts` files of a folder in order, or the file itself; empty where there are none."""
    if path.is_file():
        return [path] if _suffix(path) else []
    return sorted(file for file in path.iterdir() if file.is_file() and _suffix(file)) if path.is_dir() else []


def _suffix(path: Path) -> str:
    return next((suffix for suffix in SUFFIXES[::-1] if path.name.lower().endswith(suffix)), "")


def _pairs(folder: Path, begin: str) -> list[tuple[Path, Path]]:
    by_name: dict[str, dict[str, Path]] = {}
    for file in ts_files(folder):
        stem, _, part = file.name[: -len(_suffix(file))].rpartition("_")
        if file.name.startswith(begin):
            by_name.setdefault(stem, {})[part.upper()] = file
    return [(parts["TRAIN"], parts["TEST"]) for parts in by_name.values() if {"TRAIN", "TEST"} <= set(parts)]


def _opened(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise DataError("there is no such file", where=path)
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _text(raw: bytes, where: str, faults: Faults) -> str | None:
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        faults.add("a line is no UTF-8 text", where=f"{where}, byte {error.start}", got=hex(raw[error.start]))
        return None


def _header(file: IO[bytes], path: Path) -> Header:
    """Read as far as `@data`."""
    found: dict[str, list[str]] = {}
    number = 0
    try:
        for number, raw in enumerate(file, 1):
            line = _text(raw, f"{path}, line {number}", Faults()) or ""
            if not line or line[0] in "#%":
                continue
            if line[0] != "@":
                fix = "Is it a .ts file? Above the data stand lines such as @classLabel, and @data"
                raise DataError(
                    "a line above @data begins without @", where=f"{path}, line {number}", got=line[:40], fix=fix
                )
            word, *values = line[1:].split()
            if word.lower() == "data":
                return _described(found, path, number + 1)
            found[word.lower()] = values
    except (OSError, EOFError) as error:  # a .gz that is none, or is cut short
        raise DataError("the file cannot be read", where=path, got=error) from error
    raise DataError("the file has no data", expected="a line @data and series below it", where=path)


def _described(found: dict[str, list[str]], path: Path, first_line: int) -> Header:
    if _flag(found, "timestamps", path):
        fix = "Write the values alone, or give a CSV with a column for the time"
        raise DataError("series with time stamps of their own are not read", where=f"{path}, @timeStamps true", fix=fix)
    labels = found.get("classlabel", [])
    has_classes = bool(labels) and _flag(found, "classlabel", path)
    classes = tuple(labels[1:])
    if has_classes and len(set(classes)) != len(classes):
        raise DataError("a class is named twice", where=f"{path}, @classLabel", got=" ".join(classes))
    univariate = _flag(found, "univariate", path)
    channels = 1 if univariate else _whole(found, "dimensions", path)
    return Header(
        name=" ".join(found.get("problemname", [])) or path.name.split(".")[0],
        channels=channels if channels is not None else _whole(found, "dimension", path),
        classes=classes if has_classes else None,
        regression=_flag(found, "targetlabel", path),
        length=_whole(found, "serieslength", path) if _flag(found, "equallength", path) else None,
        first_line=first_line,
    )


def _flag(found: dict[str, list[str]], name: str, path: Path) -> bool:
    value = (found.get(name) or ["false"])[0].lower()
    if value not in _FLAGS:
        raise DataError("a line of the header", expected="true or false", got=value, where=f"{path}, @{name}")
    return _FLAGS[value]


def _whole(found: dict[str, list[str]], name: str, path: Path) -> int | None:
    value = (found.get(name) or [""])[0]
    if value and not value.isdecimal():
        raise DataError("a line of the header", expected="a whole number", got=value, where=f"{path}, @{name}")
    return int(value) if value else None


def _series(
    line: str, header: Header, channels: int | None, where: str, faults: Faults, labelled: bool
) -> Series | None:
    """A line as a series; None where it does not fit, which is then among the faults."""
    if line.startswith("("):
        fix = "Write the values alone, or give a CSV with a column for the time"
        faults.add("a series with time stamps of its own", where=where, got=line[:20], fix=fix)
        return None
    parts = line.split(":")
    answer: str | None = None
    if labelled or _has_answer(parts, header, channels):
        answer = parts.pop().strip() if header.classes is not None or header.regression else None
    if channels is not None and len(parts) != channels:
        faults.add("another number of channels", where=where, expected=channels, got=len(parts))
        return None
    rows = [_values(part, number, where, faults) for number, part in enumerate(parts, 1)]
    kept = [row for row in rows if row is not None]
    if len(kept) < len(rows):
        return None
    lengths = {len(row) for row in kept}
    if len(lengths) != 1 or 0 in lengths:
        faults.add("channels without values, or of unlike lengths", where=where, got=sorted(lengths))
        return None
    if header.length is not None and lengths != {header.length}:
        faults.add("another length than the header says", where=where, expected=header.length, got=lengths.pop())
        return None
    label, target = _answer(answer, header, where, faults)
    if labelled and label is None and target is None:
        return None
    return Series(np.stack(kept, axis=1), label, target, where)


def _has_answer(parts: list[str], header: Header, channels: int | None) -> bool:
    """Whether a line ends in a class or target, where it need not."""
    if channels is not None:
        return len(parts) > channels
    return parts[-1].strip() in (header.classes or ()) or (header.regression and "," not in parts[-1])


def _values(part: str, channel: int, where: str, faults: Faults) -> NDArray[np.float32] | None:
    words: Sequence[Any] = part.split(",") if part.strip() else []
    if "?" in part:
        words = ["nan" if word.strip() == "?" else word for word in words]
    try:
        values = np.array(words, np.float64)
    except ValueError:
        bad = next(word for word in words if not _is_number(word))
        faults.add("a value is no number", where=f"{where}, channel {channel}", got=repr(bad), expected="a number or ?")
        return None
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    if np.isinf(small).any():
        faults.add("a value is not finite", where=f"{where}, channel {channel}")
        return None
    return small


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _answer(word: str | None, header: Header, where: str, faults: Faults) -> tuple[str | None, float | None]:
    """The class or the target at the end of a line."""
    if word is None:
        if header.classes is None and not header.regression:
            what = "the file's header names neither classes nor targets"
            raise DataError(what, where=where, fix="Write @classLabel true A B ... above @data")
        return None, None
    if header.regression:
        if _is_number(word) and np.isfinite(float(word)):
            return None, float(word)
        faults.add("a target is no number", where=where, got=repr(word))
        return None, None
    if header.classes and word not in header.classes:
        faults.add("a class that the header does not name", where=where, expected=", ".join(header.classes), got=word)
        return None, None
    return word, None
