"""Piano rolls in their files, folders of music, and how they are divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rondeau.data.faults import Faults
from rondeau.data.made.chorales import made_chorales
from rondeau.data.music.find import divide, find_music
from rondeau.data.music.midi import write_midi
from rondeau.data.music.piece import Piece
from rondeau.errors import DataError


def rolls(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [(generator.random((12, 88)) < 0.1).astype(np.uint8) for _ in range(count)]


def pieces_of(found: dict[str, list[Piece]]) -> dict[str, list[list[list[float]]]]:
    return {part: [piece.roll().tolist() for piece in pieces] for part, pieces in found.items()}


def test_a_mat_file_has_its_own_division(tmp_path: Path) -> None:
    a, b, c = rolls(3)
    cells = {"traindata": [a], "validdata": [b], "testdata": [c]}
    arrays = {name: np.array([*value, None], object)[:-1] for name, value in cells.items()}
    savemat(tmp_path / "a.mat", arrays)
    found = find_music(str(tmp_path / "a.mat"), 4, Faults())
    assert pieces_of(found.parts) == pieces_of(
        {"train": [Piece.of(a, "")], "validation": [Piece.of(b, "")], "test": [Piece.of(c, "")]}
    )


def test_json_has_pitches_and_voices(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": [[[60, 55], [62, -1]]], "test": [[[64], [65, 67], []]]}))
    found = find_music(str(path), 4, Faults()).parts
    (train,), (test,) = found["train"], found["test"]
    assert train.pitches() == [[55, 60], [62]]
    assert train.voices is not None
    assert train.voices.tolist() == [[60, 55], [62, 0]]
    assert test.pitches() == [[64], [65, 67], []]
    assert test.voices is None


def test_steps_with_fewer_pitches_go_to_the_voices_that_were_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    full = [[72, 67, 60, 48]] * 20
    path.write_text(json.dumps([[*full, [66, 50], [], [72, 67, 60, 48]]]))
    (piece,) = find_music(str(path), 4, Faults()).parts["all"]
    assert piece.voices is not None
    assert piece.voices[20:].tolist() == [[0, 66, 0, 50], [0, 0, 0, 0], [72, 67, 60, 48]]
    path.write_text(json.dumps([[[72, 67], [66, 50, 40], [72]]]))
    assert find_music(str(path), 4, Faults()).parts["all"][0].voices is None


def test_npz_holds_a_piece_an_array_of_88_or_128(tmp_path: Path) -> None:
    a, b = rolls(2)
    np.savez(tmp_path / "a.npz", one=a, two=np.pad(b, ((0, 0), (21, 19))))
    found = find_music(str(tmp_path / "a.npz"), 4, Faults()).parts["all"]
    assert [piece.roll().tolist() for piece in found] == [a.tolist(), b.tolist()]


def test_bad_pieces_and_files_are_skipped_and_counted(tmp_path: Path) -> None:
    (good,) = rolls(1)
    write_midi(tmp_path / "good.mid", good)
    (tmp_path / "bad.mid").write_bytes(b"no music")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "some.json").write_text(json.dumps([[[60], [400]], [[60], [62]], [[0], [0]], [[61]]]))
    faults = Faults("skip")
    found = find_music(str(tmp_path), 4, faults).parts["all"]
    assert len(found) == 2
    assert {what: kind["count"] for what, kind in faults.to_json().items()} == {
        "the file is damaged, cut off, or not MIDI": 1,
        "the file is empty": 1,
        "a pitch is out of range": 1,
        "a piece has no notes": 1,
        "a piece is too short": 1,
    }
    with pytest.raises(DataError, match="not MIDI"):
        find_music(str(tmp_path), 4, Faults())


def test_folders_name_the_parts(tmp_path: Path) -> None:
    for name, roll in zip(("train", "valid", "test"), rolls(3), strict=True):
        (tmp_path / name).mkdir()
        write_midi(tmp_path / name / "a.mid", roll)
    found = find_music(str(tmp_path), 4, Faults())
    assert {part: len(pieces) for part, pieces in found.parts.items()} == {"train": 1, "validation": 1, "test": 1}


def test_a_piece_on_both_sides_is_named(tmp_path: Path) -> None:
    a, b, c = rolls(3)
    for name, roll in (("train/a", a), ("train/b", b), ("valid/c", c), ("test/a", a)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_midi(tmp_path / f"{name}.mid", roll)
    found = find_music(str(tmp_path), 4, Faults())
    with pytest.raises(DataError, match=r"held out is in the training part as well .*train.a\.mid"):
        divide(found, 0.1, 0.1, 0, Faults())
    faults = Faults("skip")
    train, validation, test = divide(found, 0.1, 0.1, 0, faults)
    assert [len(part) for part in (train, validation, test)] == [1, 1, 1]
    assert faults.total == 1


def test_made_chorales_repeat_and_are_playable() -> None:
    one, two = made_chorales(5, seed=3), made_chorales(5, seed=3)
    assert [piece.digest() for piece in one] == [piece.digest() for piece in two]
    assert len({piece.digest() for piece in one}) == 5
    for piece in one:
        assert piece.voices is not None
        assert (np.diff(piece.voices, axis=1) < 0).all(), "no voice is above its upper neighbour"


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        find_music(str(tmp_path / "x"), 4, Faults())
    with pytest.raises(DataError, match="no music in the folder"):
        find_music(str(tmp_path), 4, Faults())
