from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rondeau.data.audio.index import AudioIndex, Recording
from rondeau.data.faults import Faults
from rondeau.errors import DataError
from rondeau.tasks.audio.divide import divide


def _index(speakers: int = 6, takes: int = 10, parts: Any = None, hashes: Any = None) -> AudioIndex:
    index = AudioIndex(Path("/s"))
    for speaker in range(speakers):
        for take in range(takes):
            part = None if parts is None else parts(speaker, take)
            one = Recording(Path(f"/s/{speaker}_{take}.wav"), "ab"[take % 2], None, f"p{speaker}", part, 800, 8000)
            index.add(one, 0 if hashes is None else hashes(speaker, take))
    return index


def _speakers(index: AudioIndex, rows: Any) -> set[str | None]:
    return {index.speakers[int(row)] for row in rows}


def test_speakers_are_not_divided_where_they_are_known() -> None:
    index = _index()
    parts, notes = divide(index, None, 0.2, 0.2, 0, Faults())
    sides = [_speakers(index, rows) for rows in parts]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6
    assert all(sides)
    assert "divided by speaker: 6" in notes[0]


def test_speakers_are_divided_when_that_is_asked_for_and_it_is_told() -> None:
    index = _index()
    parts, notes = divide(index, "none", 0.2, 0.2, 0, Faults())
    assert len(_speakers(index, parts.train) & _speakers(index, parts.test)) > 1
    assert any("6 speakers of the test part are in the training part too (p0, p1, p2" in note for note in notes)


def test_the_datas_own_division_is_kept_and_speakers_on_both_sides_are_named() -> None:
    index = _index(parts=lambda speaker, take: "test" if take < 2 else "train")
    parts, notes = divide(index, None, 0.2, 0.2, 0, Faults())
    assert len(parts.test) == 12
    assert len(parts.train) + len(parts.validation) == 48
    assert any("6 of the 6 speakers" in note and "p0, p1" in note for note in notes)


def test_speakers_on_both_sides_are_faults_where_groups_are_asked_for() -> None:
    index = _index(parts=lambda speaker, take: "test" if speaker == 0 or (speaker == 1 and take == 0) else "train")
    with pytest.raises(DataError, match=r"on both sides.*p1"):
        divide(index, "speaker", 0.2, 0.2, 0, Faults())
    faults = Faults("skip")
    parts, notes = divide(index, "speaker", 0.2, 0.2, 0, faults)
    assert faults.total == 1
    assert not _speakers(index, parts.test) & (_speakers(index, parts.train) | _speakers(index, parts.validation))
    assert not any("both" in note or "too" in note for note in notes)


def test_equal_recordings_stay_together() -> None:
    index = _index(1, 40, hashes=lambda speaker, take: 1 + take // 2)
    parts, _ = divide(index, "none", 0.2, 0.2, 0, Faults())
    keys = [{index.key(int(row)) for row in rows} for rows in parts]
    assert not keys[0] & keys[2]
    assert not keys[0] & keys[1]


def test_equal_recordings_on_both_sides_of_a_given_division_are_told() -> None:
    index = _index(parts=lambda s, t: "test" if t == 0 else "train", hashes=lambda s, t: 10 * s + max(t, 1))
    _, notes = divide(index, None, 0.0, 0.2, 0, Faults())
    assert any("6 recordings of the test part are in the training part too" in note for note in notes)


def test_a_group_that_nobody_knows_is_refused() -> None:
    index = AudioIndex(Path("/s"))
    for take in range(10):
        index.add(Recording(Path(f"/s/{take}.wav"), "ab"[take % 2]))
    with pytest.raises(DataError, match="group"):
        divide(index, "speaker", 0.2, 0.2, 0, Faults())


def test_two_speakers_are_too_few_to_divide_by() -> None:
    parts, notes = divide(_index(2), None, 0.2, 0.2, 0, Faults())
    assert all(len(rows) for rows in parts)
    assert any("speakers of the test part" in note for note in notes)
    with pytest.raises(DataError, match="too few"):
        divide(_index(2), "speaker", 0.2, 0.2, 0, Faults())


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(DataError, match=r"unknown name.*monday"):
        divide(_index(parts=lambda s, t: "monday"), None, 0.2, 0.2, 0, Faults())
