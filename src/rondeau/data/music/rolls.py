"""Piano rolls from `.mat`, `.json` and `.npz` files, with their own division where they have one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rondeau.data.faults import Faults
from rondeau.data.music.piece import KEYS, LOWEST, Piece, roll_of
from rondeau.errors import DataError

FULL = 0.9  # of the steps: so many have a pitch for each voice where there are voices
PARTS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
Pieces = dict[str, list[Piece]]  # by part; "all" where the file has none


def read_rolls(path: Path, faults: Faults) -> Pieces:
    """The pieces of a file by part: `train`, `validation`, `test`, or `all` where the file has no division.

    A piece is 88 numbers a step (a piano's keys), 128 (MIDI's pitches), or in JSON the pitches of each step. Arrays or
    keys of a file are named by part (`traindata`, `valid`, ...), or hold one piece each. Raises `DataError` for other
    files; single pieces that are wrong go through `faults`.
    """
    given = _READERS[path.suffix.lower()](path)
    parts = {name: _part(name) for name in given}
    divided = all(part is not None for part in parts.values()) and len(given) > 1
    found: Pieces = {}
    for name, content in given.items():
        pieces = content if divided or _holds_pieces(content) else [content]
        part = found.setdefault(parts[name] or "all" if divided else "all", [])
        for number, piece in enumerate(pieces):
            where = f"{path}, {name} {number}" if len(pieces) > 1 else f"{path}, {name}"
            try:
                part.append(_piece(piece, where))
            except DataError as error:
                faults.add(error.what, where=where, got=error.got, expected=error.expected, fix=error.fix)
    return found


def _part(name: str) -> str | None:
    return PARTS.get(name.lower().removesuffix("data").rstrip("_"))


def _holds_pieces(content: Any) -> bool:
    """Whether it is a list of pieces, and not one piece."""
    first = content[0] if len(content) else None
    if isinstance(content, np.ndarray):
        return content.dtype == object or content.ndim == 3
    return isinstance(first, Sequence) and len(first) > 0 and isinstance(first[0], Sequence)


def _piece(content: Any, where: str) -> Piece:
    if isinstance(content, np.ndarray) and content.dtype != object:
        if content.ndim == 2 and content.shape[1] == 128:
            above = np.delete(content, np.s_[LOWEST : LOWEST + KEYS], axis=1)
            if (above > 0).any():
                what = "a pitch is out of range"
                raise DataError(what, expected="a piano's, 21 to 108", got="others in 128 columns", where=where)
            content = content[:, LOWEST : LOWEST + KEYS]
        piece = Piece.of(content, where)
    else:
        piece = _of_pitches([[int(pitch) for pitch in step] for step in content], where)
    if len(piece) < 2:
        raise DataError("a piece is too short", expected="2 steps or more", got=len(piece), where=where)
    if not piece.packed.any():
        raise DataError("a piece has no notes", where=where)
    return piece


def _of_pitches(steps: list[list[int]], where: str) -> Piece:
    """Voices where nine steps in ten have equally many pitches, and more than one; else just what sounds."""
    most = max((len(step) for step in steps), default=0)
    if most > 1 and sum(len(step) == most for step in steps) >= FULL * len(steps):
        return Piece.of_voices(_in_voices(steps, most), where)
    return Piece.of(roll_of(steps, where), where)


def _in_voices(steps: list[list[int]], voices: int) -> list[list[int]]:
    """Steps with fewer pitches than voices: in their order to the voices that were nearest, the others silent."""
    last = next(step for step in steps if len(step) == voices)
    found = []
    for step in steps:
        if len(step) < voices:
            places = min(combinations(range(voices), len(step)), key=partial(_distance, step, last))
            given = dict(zip(places, step, strict=True))
            step = [given.get(voice, 0) for voice in range(voices)]
        found.append(step)
        last = [now if now > 0 else before for now, before in zip(step, last, strict=True)]
    return found


def _distance(step: list[int], last: list[int], places: tuple[int, ...]) -> int:
    return sum(abs(pitch - last[place]) for pitch, place in zip(step, places, strict=True))


def _mat(path: Path) -> Mapping[str, Any]:
    from scipy.io import loadmat

    try:
        content = loadmat(str(path))
    except Exception as error:
        raise DataError("the .mat file cannot be read", got=f"{type(error).__name__}: {error}", where=path) from error
    arrays = {name: value for name, value in content.items() if isinstance(value, np.ndarray)}
    return {name: list(value.ravel()) if value.dtype == object else value for name, value in arrays.items()}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError("the file is not JSON", got=error, where=path) from error
    given = content if isinstance(content, dict) else {"pieces": content}
    if not given or not all(isinstance(value, list) and value for value in given.values()):
        expected = "lists of pieces, a piece a list of steps, a step its pitches"
        raise DataError("the JSON file holds no pieces", expected=expected, where=path)
    return given


def _npz(path: Path) -> Mapping[str, Any]:
    try:
        with np.load(path) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError) as error:
        fix = "Save an array a piece, np.savez(path, piece_1=..., piece_2=...): Python objects are not loaded"
        raise DataError("the .npz file cannot be read", got=error, where=path, fix=fix) from error


_READERS: dict[str, Callable[[Path], Mapping[str, Any]]] = {".mat": _mat, ".json": _json, ".npz": _npz}
SUFFIXES = tuple(_READERS)
