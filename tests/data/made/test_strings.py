"""Strings joined from single words: their transcripts, their ends, the same by the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from rondeau.data.audio.find import find_audio
from rondeau.data.made.strings import joined_strings
from rondeau.errors import ArgumentError, DataError

RATE = 8000


@pytest.fixture
def words(tmp_path):
    """Two speakers, two words, loud at all samples."""
    (tmp_path / "words").mkdir()
    for label, size in (("0", 800), ("1", 1600)):
        for speaker in ("ann", "bob"):
            for take in range(2):
                samples = np.full(size, 0.25 if speaker == "ann" else 0.5, np.float32)
                soundfile.write(tmp_path / "words" / f"{label}_{speaker}_{take}.wav", samples, RATE, "PCM_16")
    return find_audio(tmp_path / "words", "{label}_{speaker}_{take}.wav")


def test_a_string_is_of_one_speaker_and_says_what_its_transcript_says(words, tmp_path):
    manifest = joined_strings(words, tmp_path / "made", 6, 3, text_of=lambda label: ("zero", "one")[int(label)])
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["speaker"] for line in lines] == ["ann"] * 6 + ["bob"] * 6
    assert {len(line["ends"]) for line in lines} == {1, 2, 3}
    for line in lines:
        samples, rate = soundfile.read(manifest.parent / line["path"])
        assert rate == RATE
        level = 0.25 if line["speaker"] == "ann" else 0.5
        loud = np.abs(samples - level) < 0.01
        sizes = [0.1 if word == "zero" else 0.2 for word in line["text"].split()]
        for end, size in zip(line["ends"], sizes, strict=True):
            last = round(end * RATE)
            assert loud[last - round(size * RATE) + 8 : last - 8].all()
            assert not loud[last + 8 : last + 300].any()  # a pause of a twentieth of a second at least
        assert int(loud.sum()) == pytest.approx(sum(sizes) * RATE, abs=8)
        assert 0 < samples[:500].std() < 0.01  # a pause is quiet, and not dead


def test_the_seed_decides(words, tmp_path):
    made = [joined_strings(words, tmp_path / str(i), 3, seed=seed) for i, seed in enumerate((1, 1, 2))]
    texts = [manifest.read_bytes() for manifest in made]
    assert texts[0] == texts[1] != texts[2]
    first, again = ((manifest.parent / "bob_0002.wav").read_bytes() for manifest in made[:2])
    assert first == again


def test_what_cannot_be_joined_is_refused(words, tmp_path):
    with pytest.raises(ArgumentError, match="one or more"):
        joined_strings(words, tmp_path / "made", 0)
    nameless = find_audio(words.root, "{label}_{who}_{take}.wav")
    with pytest.raises(DataError, match=r"no label or no speaker"):
        joined_strings(nameless, tmp_path / "made", 1)
