"""Pieces of music from a file or a folder, and how they are divided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rondeau.data.faults import Faults
from rondeau.data.made.chorales import made_chorales
from rondeau.data.music import midi, rolls
from rondeau.data.music.piece import Piece
from rondeau.data.progress import Meter
from rondeau.data.splits import shared, split_rows
from rondeau.errors import DataError

SUFFIXES = (*midi.SUFFIXES, *rolls.SUFFIXES)


@dataclass
class Music:
    """Pieces by part, `train`, `validation` and `test`, or all of them in `train` where they are not divided."""

    name: str
    parts: dict[str, list[Piece]]
    notes: list[str] = field(default_factory=list)


def find_music(path: str | None, steps_per_beat: int, faults: Faults, seed: int = 0) -> Music:
    """All pieces at a path: MIDI files and piano rolls, a folder of them, or folders `train`, `valid` and `test`.

    None: chorales that the package makes. Raises `DataError` where there are none; files that are damaged or have no
    notes go through `faults`.
    """
    if path is None:
        return Music("made chorales", {"all": made_chorales(seed=seed)})
    root = Path(path)
    if not root.exists():
        raise DataError("no such file or folder", expected=f"music: {', '.join(SUFFIXES)}", got=path)
    files = files_of(root)
    if not files:
        raise DataError("no music in the folder", expected=", ".join(SUFFIXES), where=path)
    parts: dict[str, list[Piece]] = {}
    notes: dict[str, int] = {}
    with Meter("reading music", len(files), "files") as meter:
        for file in files:
            for part, pieces in _read(file, steps_per_beat, faults, notes).items():
                folder = rolls.PARTS.get(file.relative_to(root).parts[0].lower()) if root.is_dir() else None
                parts.setdefault(folder or part, []).extend(pieces)
            meter.advance()
    if not any(parts.values()):
        raise DataError("no piece could be read", expected="at least one", got=faults.describe() or 0, where=path)
    told = [f"{what}: {count:,} files" for what, count in notes.items()]
    return Music(root.name, _named(parts), told)


def files_of(root: Path) -> list[Path]:
    """The files of music at a path, in order."""
    if root.is_file():
        return [root]
    return sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _read(file: Path, steps_per_beat: int, faults: Faults, notes: dict[str, int]) -> rolls.Pieces:
    try:
        if file.suffix.lower() in rolls.SUFFIXES:
            return rolls.read_rolls(file, faults)
        piece, told = midi.read_midi(file, steps_per_beat)
    except DataError as error:
        faults.add(error.what, where=error.where or file, got=error.got, expected=error.expected, fix=error.fix)
        return {}
    for note in told:
        what = note.partition(" ")[2]
        notes[what] = notes.get(what, 0) + 1
    return {"all": [piece]}


def _named(parts: dict[str, list[Piece]]) -> dict[str, list[Piece]]:
    """Either all three parts, or two, or `all`; pieces of no part among others are for training."""
    if set(parts) == {"all"}:
        return parts
    rest = parts.pop("all", [])
    return {**parts, "train": parts.get("train", []) + rest}


def divide(
    music: Music, validation: float, test: float, seed: int, faults: Faults
) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Training, validation and test part: the music's own, or whole pieces drawn, equal ones kept together.

    A piece of a given test or validation part that the training part has too, in any transposition, goes through
    `faults`; where these are skipped, the training part's is left out.
    """
    if "all" in music.parts:
        pieces = music.parts["all"]
        drawn = split_rows([one.digest() for one in pieces], validation, test, seed)
        train, held, last = ([pieces[row] for row in part] for part in drawn)
        return train, held, last
    train, held, last = (music.parts.get(name, []) for name in ("train", "validation", "test"))
    for missing, share, name in ((not held, validation, "validation"), (not last, test, "test")):
        if missing:
            rest = split_rows([one.digest() for one in train], share, 0.0, seed)
            out = [train[row] for row in rest.validation]
            held, last = (out, last) if name == "validation" else (held, out)
            train = [train[row] for row in rest.train]
    known = {one.digest(): one.where for one in train}
    leaks = shared(known, [one.digest() for one in (*held, *last)])
    for digest in leaks:
        what = "a piece that is held out is in the training part as well"
        faults.add(what, where=known[digest], fix="Take it out of one of them")
    return [one for one in train if one.digest() not in set(leaks)], held, last


def pieces_at(path: str, steps_per_beat: int, faults: Faults) -> Iterator[Piece]:
    """The pieces of a file or folder one after another, whatever part they are of."""
    for file in files_of(Path(path)):
        for pieces in _read(file, steps_per_beat, faults, {}).values():
            yield from pieces
