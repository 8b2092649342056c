"""MIDI files (.mid) to pieces on a grid, and pieces to MIDI files; by `mido`."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.music.piece import HIGHEST, KEYS, LOWEST, Piece
from rondeau.errors import DataError, MissingExtraError

SUFFIXES = (".mid", ".midi")
DRUMS = 9  # the channel whose notes are no pitches


class Note(NamedTuple):
    """A note, from tick to tick."""

    pitch: int
    begin: int
    end: int


class Score(NamedTuple):
    """The notes of a MIDI file.

    Attributes:
        beat: ticks of a quarter note; end: the last tick of any event.
        hanging: notes that never end, held to the end of the file; outside: those no piano has, left out.
    """

    notes: list[Note]
    beat: int
    end: int
    hanging: int
    outside: int


def read_midi(path: str | os.PathLike[str], steps_per_beat: int = 4) -> tuple[Piece, list[str]]:
    """A piece of `steps_per_beat` steps a quarter note, and what was done to read it, in words.

    Time is counted in beats, so that changes of tempo and of time signature move nothing. A note sounds from the step
    nearest to its beginning for at least one. Drums are no pitches, and left out. Raises `DataError` for a file that
    is none of MIDI, is cut off, or has no notes.
    """
    score = read_score(path)
    if not score.notes:
        out = f", {score.outside} of pitches no piano has" if score.outside else ""
        raise DataError("the file has no notes", expected="notes of pitches 21 to 108", got=f"0{out}", where=path)
    notes = []
    if score.hanging:
        notes.append(f"{score.hanging} notes without an end, held to the end of the piece")
    if score.outside:
        notes.append(f"{score.outside} notes outside a piano's keys, left out")
    return Piece.of(_grid(score, steps_per_beat), str(path)), notes


def read_score(path: str | os.PathLike[str]) -> Score:
    """All notes of a MIDI file's tracks."""
    file = _parsed(Path(path))
    if file.ticks_per_beat < 1:
        what = "the file counts time in frames of a film, and has no beats"
        raise DataError(what, expected="ticks per beat", got=file.ticks_per_beat, where=path)
    notes: list[Note] = []
    hanging = outside = end = 0
    for track in file.tracks:
        now, sounding = 0, defaultdict(list)
        for message in track:
            now += message.time
            if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
                continue
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity > 0:
                sounding[key].append(now)
            elif sounding[key]:
                notes.append(Note(message.note, sounding[key].pop(0), now))
        end = max(end, now)
        left = [(pitch, begin) for (_, pitch), begins in sounding.items() for begin in begins]
        hanging += len(left)
        notes += [Note(pitch, begin, -1) for pitch, begin in left]
    notes = [note if note.end >= 0 else note._replace(end=end) for note in notes]
    inside = [note for note in notes if LOWEST <= note.pitch <= HIGHEST]
    outside = len(notes) - len(inside)
    return Score(inside, file.ticks_per_beat, end, hanging, outside)


def write_midi(path: str | os.PathLike[str], roll: NDArray[Any], steps_per_beat: int = 4, tempo: float = 90.0) -> None:
    """Keys `(steps, 88)` as a MIDI file: a key that goes on sounding is one note. `tempo`: beats a minute."""
    mido = _mido()
    steps, ticks = np.asarray(roll) > 0, 480 // steps_per_beat
    if steps.ndim != 2 or steps.shape[1] != KEYS:
        raise DataError("a piano roll has 88 keys", expected="(steps, 88)", got=steps.shape)
    silent = np.zeros((1, KEYS), np.bool_)
    change = np.diff(np.concatenate([silent, steps, silent]).astype(np.int8), axis=0)
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo), time=0)])
    last = 0
    for step, turns in enumerate(change):
        for key in np.flatnonzero(turns < 0).tolist() + np.flatnonzero(turns > 0).tolist():
            kind = "note_on" if turns[key] > 0 else "note_off"
            track.append(mido.Message(kind, note=LOWEST + key, velocity=72, time=(step - last) * ticks))
            last = step
    mido.MidiFile(ticks_per_beat=ticks * steps_per_beat, tracks=[track]).save(str(path))


def _grid(score: Score, steps_per_beat: int) -> NDArray[np.bool_]:
    step = score.beat / steps_per_beat
    places = [(round(note.begin / step), round(note.end / step), note.pitch - LOWEST) for note in score.notes]
    first = min(begin for begin, _, _ in places)
    roll = np.zeros((max(max(end, begin + 1) for begin, end, _ in places) - first, KEYS), np.bool_)
    for begin, end, key in places:
        roll[begin - first : max(end, begin + 1) - first, key] = True
    return roll


def _parsed(path: Path) -> Any:
    mido = _mido()
    try:
        return mido.MidiFile(str(path))
    except (OSError, EOFError, ValueError, IndexError, KeyError, TypeError) as error:
        # what mido meets in a file that is cut off or no MIDI at all differs by place
        if path.stat().st_size == 0:
            raise DataError("the file is empty", expected="a MIDI file", where=path) from error
        what = "the file is damaged, cut off, or not MIDI"
        raise DataError(what, got=f"{type(error).__name__}: {error}".rstrip(": "), where=path) from error


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise MissingExtraError("MIDI needs mido", fix="Install it: pip install 'rondeau[midi]'") from error
    return mido
