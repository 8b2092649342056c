"""Where recordings come from: folders by class, names with a pattern, manifests."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rondeau.data.audio.index import AudioIndex, Recording, indexed
from rondeau.data.audio.read import SUFFIXES
from rondeau.data.faults import Faults
from rondeau.data.progress import progress
from rondeau.data.tables.rows import TABLES, read_rows
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "audio", "audio_path", "audio_filepath", "wav"),
    "label": ("label", "class", "category", "target", "keyword", "command"),
    "text": ("text", "transcript", "transcription", "sentence", "words"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "part": ("split", "part", "subset", "fold"),
    "start": ("start", "begin", "onset"),
    "end": ("end", "offset", "stop"),
}
"""What the columns of a manifest may be called, in any case."""

PARTS = {
    "train": "train", "training": "train", "valid": "validation", "val": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
FIELDS = ("label", "speaker", "text", "part")
_MANIFESTS = ("manifest", "metadata", "train", "index", "transcripts", "labels")


def find_audio(
    path: str | os.PathLike[str],
    pattern: str | None = None,
    faults: Faults | None = None,
    listen: bool = False,
    columns: dict[str, str] | None = None,
) -> AudioIndex:
    """The recordings of a folder or a manifest, each file's header (with `listen` its samples) read once.

    Args:
        path: a manifest (CSV, TSV, JSONL or Parquet) with a column `path` and any of `label`, `text`, `speaker`,
            `split`, `start` and `end`, see `COLUMNS`; a folder that holds one; or a folder of sound files: those in
            `yes/a.wav` are of class `yes`, and in `test/yes/a.wav` also of the test part.
        pattern: of the files' names, as `{label}_{speaker}_{take}.wav`, or of their paths in the folder where it has a
            `/`; `label`, `speaker`, `text` and `part` are taken from it, other words are only matched.
        faults: what becomes of recordings that cannot be used (default: `DataError`).
        listen: see `indexed`.
        columns: of a manifest whose columns have other names: `{"speaker": "customer"}`.

    Raises `DataError` where there are none, `ArgumentError` for a pattern that is none.
    """
    root, faults = Path(path), Faults() if faults is None else faults
    if not str(path) or not root.exists():
        raise DataError("no such file or folder", expected="recordings or a manifest of them", got=str(path))
    matcher = None if pattern is None else matcher_of(pattern)
    manifest = root if root.is_file() else (manifest_in(root) if matcher is None else None)
    if manifest is not None:
        if suffix_of(manifest) not in TABLES:
            expected = f"a manifest ({', '.join(TABLES)}) or a folder"
            raise DataError("one file is no set of recordings", expected=expected, got=str(path))
        rows = list(find_rows(manifest, faults, columns))
        notes = [f"{manifest.name} lists the recordings"]
        found = indexed(rows, manifest.parent, faults, listen, len(rows), notes)
    elif columns:
        name = next(iter(columns.values()))
        fix = "Give a manifest with such a column, or take it from the files' names: --pattern"
        raise ArgumentError("recordings in folders have no columns", got=repr(name), where=path, fix=fix)
    else:
        files = sound_files(root)
        recordings, note = _of_names(root, files, matcher, pattern, faults)
        found = indexed(recordings, root, faults, listen, len(files), [note])
    if not len(found):
        got = faults.describe() or "none"
        raise DataError("there are no recordings", expected=", ".join(SUFFIXES), got=got, where=path)
    _tell_formats(found)
    return found


def _tell_formats(index: AudioIndex) -> None:
    rates = Counter(index.rates.tolist())
    if len(rates) > 1:
        told = ", ".join(f"{count:,} at {rate:,} Hz" for rate, count in rates.most_common(4))
        index.notes.append(f"recordings of several rates are resampled to one: {told}")


def sound_files(root: Path) -> list[str]:
    """The sound files below a folder, as paths relative to it, sorted; hidden ones are left out."""
    found = []
    for folder, folders, names in progress(os.walk(root), "looking for recordings", unit="folders"):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(folder, root)
        start = "" if inside == "." else inside.replace(os.sep, "/") + "/"
        found += [start + name for name in names if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES]
    return sorted(found)


def manifest_in(root: Path) -> Path | None:
    """The manifest that lies in a folder, None without; of several the one with the likeliest name."""
    files = sorted(file for file in root.iterdir() if file.is_file() and suffix_of(file) in TABLES)
    fitting = [file for file in files if has_paths(file)]
    if not fitting:
        return None
    return min(fitting, key=lambda f: next((i for i, n in enumerate(_MANIFESTS) if f.name.startswith(n)), 99))


def has_paths(file: Path) -> bool:
    """Whether a table has a column of paths to sound files."""
    try:
        first = next(read_rows(file, faults=Faults("skip")), None)
    except DataError:
        return False
    if first is None:
        return False
    given = {str(name).lower(): value for name, value in first.values.items()}
    return any(str(given.get(name, "")).lower().endswith(SUFFIXES) for name in COLUMNS["path"])


def matcher_of(pattern: str) -> re.Pattern[str]:
    """A regular expression from `{label}_{speaker}_{take}.wav`. Raises `ArgumentError` for one without a field."""
    stem = re.sub(r"\.\w+$", "", pattern)
    parts = re.split(r"\{(\w+)\}", stem)
    names = parts[1::2]
    if not set(names) & set(FIELDS) or len(names) != len(set(names)):
        expected = "such as {label}_{speaker}_{take}.wav, each field once"
        raise ArgumentError("pattern", expected=expected, got=repr(pattern))
    # fields end where the next separator first comes, so that every name is divided in one way only
    pieces = [re.escape(parts[0])]
    for name, after in zip(names, parts[2::2], strict=True):
        pieces.append(f"(?P<{name}>[^/]+?)" + re.escape(after))
    return re.compile("".join(pieces))


def _of_names(
    root: Path, files: Sequence[str], matcher: re.Pattern[str] | None, pattern: str | None, faults: Faults
) -> tuple[Iterator[Recording], str]:
    if matcher is not None:
        return _by_pattern(root, files, matcher, pattern or "", faults), f"named as {pattern}"
    if any("/" in file for file in files):
        return _by_folder(root, files, faults), "the folders are the classes"
    guessed = guess_pattern(files)
    if guessed is None:
        return (Recording(root / file) for file in files), "recordings without a class"
    note = f"file names read as {guessed} (another: --pattern)"
    return _by_pattern(root, files, matcher_of(guessed), guessed, faults), note


def _by_pattern(
    root: Path, files: Sequence[str], matcher: re.Pattern[str], pattern: str, faults: Faults
) -> Iterator[Recording]:
    whole = "/" in pattern
    for file in files:
        stem = os.path.splitext(file)[0]
        found = matcher.fullmatch(stem if whole else stem.rsplit("/", 1)[-1])
        if found is None:
            faults.add("a file's name does not fit the pattern", where=file, expected=pattern)
            continue
        given: dict[str, Any] = {name: value for name, value in found.groupdict().items() if name in FIELDS}
        if "part" in given:
            given["part"] = PARTS.get(given["part"].lower(), given["part"])
        yield Recording(root / file, **given)


def _by_folder(root: Path, files: Sequence[str], faults: Faults) -> Iterator[Recording]:
    divided = all(file.split("/", 1)[0].lower() in PARTS for file in files)
    for file in files:
        folders = file.split("/")[:-1]
        part = PARTS[folders[0].lower()] if divided else None
        if len(folders) <= divided:
            faults.add("a recording lies in no folder of a class", where=file)
            continue
        yield Recording(root / file, label=folders[int(divided)], part=part)


def guess_pattern(files: Sequence[str]) -> str | None:
    """`{label}_{speaker}_{take}` where all names are three words, of which the last is a number; else None.

    `{label}_{take}` for two. Of a label there must be several recordings.
    """
    stems = [os.path.splitext(file)[0].split("_") for file in files]
    counts = {len(words) for words in stems}
    if counts not in ({2}, {3}) or not all(words[-1].isdigit() for words in stems):
        return None
    if len({words[0] for words in stems}) > max(len(stems) // 2, 1):
        return None
    return "{label}_{speaker}_{take}" if counts == {3} else "{label}_{take}"


def find_rows(manifest: Path, faults: Faults, columns: dict[str, str] | None = None) -> Iterator[Recording]:
    """What the rows of a manifest name, without a look at the files; what is wrong in them goes to `faults`."""
    names: dict[str, str | None] | None = None
    for values, where in read_rows(manifest, faults=faults):
        if names is None:
            names = _columns(list(values), columns or {}, manifest)
        given: dict[str, Any] = {field: _word(values.get(name)) for field, name in names.items() if name is not None}
        file = given.pop("path", None)
        if file is None:
            faults.add("a record names no file", where=where, expected=f"a value in column {names['path']!r}")
            continue
        begin, end = given.pop("start", None), given.pop("end", None)
        try:
            start, stop = float(begin or 0), None if end is None else float(end)
        except ValueError:
            faults.add("start and end of a recording are no numbers", where=where, got=f"{begin!r}, {end!r}")
            continue
        if start < 0 or (stop is not None and not stop > start):
            faults.add("a recording ends before it starts", where=where, got=f"{start} to {stop} s")
            continue
        if given.get("part") is not None:
            given["part"] = PARTS.get(str(given["part"]).lower(), given["part"])
        path = Path(file)
        path = path if path.is_absolute() else manifest.parent / path
        yield Recording(path, start=start, end=stop, **given)


def _columns(there: Sequence[str], asked: dict[str, str], manifest: Path) -> dict[str, str | None]:
    """Of each field the manifest's column."""
    by_lower = {str(name).lower(): name for name in reversed(there)}
    found: dict[str, str | None] = {}
    for field, known in COLUMNS.items():
        if field in asked:
            if asked[field] not in there:
                expected = ", ".join(map(repr, there))
                raise ArgumentError(
                    f"the manifest has no such column of the {field}", expected=expected, got=asked[field]
                )
            found[field] = asked[field]
        else:
            found[field] = next((by_lower[name] for name in known if name in by_lower), None)
    if found["path"] is None:
        expected, got = "a column `path`", ", ".join(map(repr, there))
        raise DataError("the manifest names no files", expected=expected, got=got, where=manifest)
    return found


def _word(value: Any) -> str | None:
    word = "" if value is None or value != value else str(value).strip()
    return word or None
