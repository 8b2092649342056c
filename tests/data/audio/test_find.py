from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rondeau.data.audio.find import find_audio, guess_pattern
from rondeau.data.audio.index import AudioIndex, Recording
from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError


def test_folders_are_classes(tmp_path: Path, write) -> None:
    for name in ("yes/a.wav", "yes/b.flac", "no/c.ogg", ".hidden/d.wav"):
        write(name)
    index = find_audio(tmp_path)
    assert [(index.where(i), index[i].label) for i in range(3)] == [
        ("no/c.ogg", "no"),
        ("yes/a.wav", "yes"),
        ("yes/b.flac", "yes"),
    ]
    assert index[1].frames == 2400
    assert index[1].rate == 8000
    assert index[1].seconds == pytest.approx(0.3)


def test_folders_of_parts_hold_folders_of_classes(tmp_path: Path, write) -> None:
    for name in ("train/yes/a.wav", "train/no/b.wav", "Test/yes/c.wav"):
        write(name)
    index = find_audio(tmp_path)
    assert sorted((one.label, one.part) for one in index) == [("no", "train"), ("yes", "test"), ("yes", "train")]


def test_names_are_read_by_a_pattern(tmp_path: Path, write) -> None:
    for name in ("3_theo_7.wav", "0_lucas_1.wav"):
        write(name)
    index = find_audio(tmp_path, "{label}_{speaker}_{take}.wav")
    assert [(one.label, one.speaker) for one in index] == [("0", "lucas"), ("3", "theo")]


def test_a_pattern_with_a_slash_is_of_whole_paths(tmp_path: Path, write) -> None:
    for name in ("yes/0a_nohash_1.wav", "no/0b_nohash_0.wav"):
        write(name)
    index = find_audio(tmp_path, "{label}/{speaker}_nohash_{take}")
    assert [(one.label, one.speaker) for one in index] == [("no", "0b"), ("yes", "0a")]


def test_names_of_three_words_are_guessed_and_told(tmp_path: Path, write) -> None:
    for take in range(4):
        write(f"{take % 2}_ann_{take}.wav")
    index = find_audio(tmp_path)
    assert {one.label for one in index} == {"0", "1"}
    assert "{label}_{speaker}_{take}" in index.notes[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a_1.wav", "b_2.wav", "a_3.wav", "b_1.wav"], "{label}_{take}"),
        (["a_x.wav", "b_y.wav"], None),
        (["rec_1.wav", "a_b_2.wav"], None),
        (["a_1.wav", "b_1.wav", "c_1.wav"], None),
    ],
)
def test_what_is_guessed_of_names(files: list[str], expected: str | None) -> None:
    assert guess_pattern(files) == expected


def test_a_name_that_does_not_fit_is_a_fault(tmp_path: Path, write) -> None:
    write("3_theo_7.wav")
    write("odd.wav")
    with pytest.raises(DataError, match=r"does not fit the pattern.*odd\.wav"):
        find_audio(tmp_path, "{label}_{speaker}_{take}")
    faults = Faults("skip")
    assert len(find_audio(tmp_path, "{label}_{speaker}_{take}", faults)) == 1
    assert faults.total == 1


@pytest.mark.parametrize("pattern", ["{take}.wav", "label.wav", "{label}_{label}.wav"])
def test_a_pattern_without_sense_is_refused(tmp_path: Path, write, pattern: str) -> None:
    write("a.wav")
    with pytest.raises(ArgumentError, match="pattern"):
        find_audio(tmp_path, pattern)


def _manifest(path: Path, rows: list[dict[str, object]], kind: str) -> Path:
    if kind == "jsonl":
        path = path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    path = path / "data.csv"
    names = list(rows[0])
    lines = [",".join(names)] + [",".join("" if r[n] is None else str(r[n]) for n in names) for r in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_manifest_gives_labels_texts_speakers_and_parts(tmp_path: Path, write, kind: str) -> None:
    write("sounds/a.wav")
    write("sounds/b.wav")
    rows = [
        {"file": "sounds/a.wav", "Class": "x", "transcript": "hello there", "speaker": 7, "split": "dev"},
        {"file": "sounds/b.wav", "Class": "y", "transcript": None, "speaker": 8, "split": "train"},
    ]
    index = find_audio(_manifest(tmp_path, rows, kind))
    assert index[0][:5] == (tmp_path / "sounds/a.wav", "x", "hello there", "7", "validation")
    assert index[1].text is None
    assert find_audio(tmp_path).digest() == index.digest()  # the folder's own manifest is found


def test_parts_of_a_file_are_recordings(tmp_path: Path, write) -> None:
    write("a.wav", seconds=1.0)
    rows = [{"path": "a.wav", "label": "x", "start": 0.1, "end": 0.4}, {"path": "a.wav", "label": "y", "start": 0.5}]
    index = find_audio(_manifest(tmp_path, [{"end": None, **row} for row in rows], "jsonl"))
    assert index.seconds.tolist() == pytest.approx([0.3, 0.5])
    assert [one.seconds for one in index] == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"path": "", "label": "x"}, "names no file"),
        ({"path": "a.wav", "start": "soon"}, "no numbers"),
        ({"path": "a.wav", "start": "0.2", "end": "0.1"}, "ends before it starts"),
        ({"path": "gone.wav"}, "cannot be read"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, write, row: dict[str, object], what: str) -> None:
    write("a.wav")
    good: dict[str, object] = {"path": "a.wav", "label": "y", "start": None, "end": None}
    manifest = _manifest(tmp_path, [good, {**good, **row}], "jsonl")
    with pytest.raises(DataError, match=what):
        find_audio(manifest)
    faults = Faults("skip")
    assert len(find_audio(manifest, faults=faults)) == 1
    assert faults.total == 1


def test_another_column_is_taken_when_asked_for(tmp_path: Path, write) -> None:
    write("a.wav")
    manifest = _manifest(tmp_path, [{"path": "a.wav", "label": "x", "customer": "c9"}], "jsonl")
    assert find_audio(manifest, columns={"speaker": "customer"})[0].speaker == "c9"
    with pytest.raises(ArgumentError, match="no such column"):
        find_audio(manifest, columns={"speaker": "owner"})


def test_folders_have_no_columns(tmp_path: Path, write) -> None:
    write("a/1.wav")
    with pytest.raises(ArgumentError, match="have no columns"):
        find_audio(tmp_path, columns={"speaker": "customer"})


def test_bad_files_among_many_are_counted(tmp_path: Path, write) -> None:
    for number in range(30):
        write(f"{'ab'[number % 2]}/{number:02d}.wav")
    (tmp_path / "a/empty.wav").write_bytes(b"")
    (tmp_path / "a/corrupt.wav").write_bytes(b"RIFF" + bytes(range(200)))
    whole = (tmp_path / "a/00.wav").read_bytes()
    (tmp_path / "b/short.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(tmp_path / "b/silent.wav", np.zeros(800), 8000)
    with pytest.raises(DataError, match="--on-error skip"):
        find_audio(tmp_path)
    faults = Faults("skip")
    index = find_audio(tmp_path, faults=faults, listen=True)
    assert len(index) == 30
    found = {what: kind["places"] for what, kind in faults.to_json().items()}
    assert found == {
        "a sound file is empty": ["a/empty.wav"],
        "a file is damaged, or is no sound": ["a/corrupt.wav"],
        "a sound file is truncated": ["b/short.wav"],
        "a recording is silent": ["b/silent.wav"],
    }
    assert len(find_audio(tmp_path, faults=Faults("skip"))) == 31  # headers alone do not tell silence


def test_rates_and_channels_may_be_mixed_and_are_told(tmp_path: Path, write) -> None:
    write("a/1.wav", rate=8000)
    write("a/2.wav", rate=44100, channels=2)
    write("b/3.wav", rate=8000)
    index = find_audio(tmp_path)
    assert any("2 at 8,000 Hz, 1 at 44,100 Hz" in note for note in index.notes)
    assert index.seconds.tolist() == pytest.approx([0.3] * 3)


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings"):
        find_audio(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        find_audio(tmp_path / "gone")


def test_the_same_samples_have_the_same_key(tmp_path: Path, write) -> None:
    write("a/1.wav")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/2.wav").write_bytes((tmp_path / "a/1.wav").read_bytes())
    write("b/3.wav", pitch=500.0)
    index = find_audio(tmp_path, listen=True)
    assert index.key(0) == index.key(1) != index.key(2)


def test_a_hundred_thousand_recordings_take_little_memory() -> None:
    tracemalloc.start()
    try:
        index = AudioIndex(Path("/sounds"))
        for number in range(100_000):
            index.add(Recording(Path(f"/sounds/{number % 35}/{number:08x}_nohash_0.wav"), str(number % 35), rate=16000))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 200 * 100_000  # bytes
    assert index[99_999].path == Path("/sounds/4/0001869f_nohash_0.wav")
    assert index[-1].label == "4"
    assert len(index[10:20]) == 10


def test_the_spoken_digits_are_found_with_their_speakers(shared) -> None:
    index = find_audio(shared("fsdd") / "recordings")
    assert len(index) == 3000
    assert set(index.speakers) == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    assert sorted(index.labels.words) == [str(digit) for digit in range(10)]
    assert 0.14 <= index.seconds.min() < index.seconds.max() <= 2.29
