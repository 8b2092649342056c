"""MIDI files to pieces and back, and files that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from rondeau.data.music.midi import read_midi, write_midi
from rondeau.data.music.piece import Piece
from rondeau.errors import DataError


def written(path: Path, *tracks: list[Any], beat: int = 480) -> Path:
    mido.MidiFile(ticks_per_beat=beat, tracks=[mido.MidiTrack(track) for track in tracks]).save(str(path))
    return path


def on(note: int, time: int = 0, channel: int = 0, velocity: int = 64) -> Any:
    return mido.Message("note_on", note=note, time=time, channel=channel, velocity=velocity)


def off(note: int, time: int = 0, channel: int = 0) -> Any:
    return mido.Message("note_off", note=note, time=time, channel=channel)


def test_a_piece_comes_back_as_it_was(tmp_path: Path) -> None:
    roll = (np.random.default_rng(0).random((40, 88)) < 0.1).astype(np.float32)
    roll[0, 3] = roll[-1, 5] = 1
    write_midi(tmp_path / "a.mid", roll)
    piece, notes = read_midi(tmp_path / "a.mid")
    assert np.array_equal(piece.roll(), roll)
    assert notes == []


def test_time_is_counted_in_beats_whatever_tempo_and_time_signature(tmp_path: Path) -> None:
    plain = [on(60), off(60, 480), on(64), off(64, 960)]
    turned = [
        mido.MetaMessage("set_tempo", tempo=300_000),
        mido.MetaMessage("time_signature", numerator=6, denominator=8),
        on(60),
        mido.MetaMessage("set_tempo", tempo=900_000, time=240),
        off(60, 240),
        mido.MetaMessage("time_signature", numerator=3, denominator=4),
        on(64),
        off(64, 960),
    ]
    first, second = (
        read_midi(written(tmp_path / f"{name}.mid", track))[0] for name, track in (("a", plain), ("b", turned))
    )
    assert first.pitches() == [[60]] * 4 + [[64]] * 8
    assert second.pitches() == first.pitches()


def test_tracks_and_channels_sound_together_and_drums_do_not(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mid", [on(60), off(60, 480)], [on(67, channel=3), on(40, channel=9), off(67, 480, 3)])
    assert read_midi(path)[0].pitches() == [[60, 67]] * 4


def test_a_note_of_no_velocity_is_an_end_and_a_short_one_has_a_step(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mid", [on(60), on(60, 480, velocity=0), on(62), off(62, 10)])
    assert read_midi(path)[0].pitches() == [[60]] * 4 + [[62]]


def test_hanging_notes_end_with_the_piece_and_are_told(tmp_path: Path) -> None:
    piece, notes = read_midi(written(tmp_path / "a.mid", [on(60), on(64, 480), off(64, 480)]))
    assert piece.pitches() == [[60]] * 4 + [[60, 64]] * 4
    assert notes == ["1 notes without an end, held to the end of the piece"]


def test_pitches_outside_the_piano_are_left_out_and_told(tmp_path: Path) -> None:
    piece, notes = read_midi(written(tmp_path / "a.mid", [on(60), on(5), off(5, 480), off(60)]))
    assert piece.pitches() == [[60]] * 4
    assert notes == ["1 notes outside a piano's keys, left out"]


def test_a_file_without_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no notes"):
        read_midi(written(tmp_path / "a.mid", [mido.MetaMessage("set_tempo", tempo=300_000)]))


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "empty"), (b"not music at all", "not MIDI"), (None, "cut off")], ids=["", "text", "cut"]
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "a.mid"
    if content is None:
        whole = written(path, [on(60), off(60, 480)] * 20).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_midi(path)


def test_a_piece_moves_and_stays_on_the_piano() -> None:
    piece = Piece.of_voices([[107, 60], [0, 62]], "a")
    moved = piece.moved(1)
    assert moved is not None
    assert moved.pitches() == [[61, 108], [63]]
    assert moved.voices is not None
    assert moved.voices.tolist() == [[108, 61], [0, 63]]
    assert piece.moved(2) is None
    with pytest.raises(DataError, match=r"a pitch is out of range .*step 1.*: expected a piano's, 21 to 108, got 120"):
        Piece.of_voices([[60, 60], [60, 120]], "a")
