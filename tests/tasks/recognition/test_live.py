"""Live recognition: PCM piped in gives what the whole recording gives, whatever the pieces; what it refuses."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from rondeau.data.audio.read import resample
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.api import train
from rondeau.tasks.recognition.live import Live, listen


def pcm_of(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def heard(live: Live, pcm: bytes, size: int) -> str:
    pieces = [live.push(pcm[i : i + size]).text for i in range(0, len(pcm), size)]
    return "".join([*pieces, live.finish().text])


@pytest.fixture
def sound(tones):
    return np.concatenate([tones.spoken("abc ca b", 1.0, 50), tones.spoken("cc ab", 1.02, 51)])


@pytest.mark.parametrize("size", [2, 333, 800, 10**6])  # odd sizes cut samples in two
def test_in_pieces_it_hears_what_predict_hears_of_the_file(streaming_run, tones, sound, tmp_path, size):
    soundfile.write(tmp_path / "a.wav", sound, tones.RATE, "PCM_16")
    pcm, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    [record] = streaming_run.predict(tmp_path / "a.wav")
    live = Live(streaming_run.folder, tones.RATE)
    assert heard(live, pcm.astype("<i2").tobytes(), size).strip() == record["text"]
    assert record["text"].startswith("abc c")
    assert live.seconds == pytest.approx(len(sound) / tones.RATE)
    assert live.real_time_factor > 0
    assert all(delay >= 0 for delay in live.delays)


def test_words_come_while_sound_comes(streaming_run, tones, sound):
    live = Live(streaming_run.folder, tones.RATE)
    pcm = pcm_of(np.concatenate([sound, np.zeros(2 * tones.RATE, np.float32)]))
    told = [live.push(pcm[i : i + 800]) for i in range(0, len(pcm), 800)]
    early = "".join(one.text for one in told if one.told < len(sound) / tones.RATE)
    assert early.startswith("abc")
    assert max(live.delays) < 0.8  # settled after half a second of sound
    for one in told:
        assert len(one.text) == len(one.heard)
        assert all(second <= one.told for second in one.heard)


def test_another_rate_is_resampled_as_it_comes(streaming_run, tones, sound):
    live = Live(streaming_run.folder, tones.RATE)
    expected = heard(live, pcm_of(sound), 800)
    other = Live(streaming_run.folder, 2 * tones.RATE)
    assert heard(other, pcm_of(resample(sound, tones.RATE, 2 * tones.RATE)), 1600) == expected


def test_the_command_writes_words_and_says_how_long_it_took(streaming_run, tones, sound):
    command = [sys.executable, "-m", "rondeau", "live", str(streaming_run.path), "--rate", str(tones.RATE)]
    done = subprocess.run(command, input=pcm_of(sound), capture_output=True, check=True)
    assert done.stdout.decode().strip() == heard(Live(streaming_run.folder, tones.RATE), pcm_of(sound), 800).strip()
    told = done.stderr.decode()
    assert "real-time factor" in told
    assert "latency, from a character's last frame until it was told" in told


def test_a_pause_at_the_end_adds_nothing_and_short_sound_is_heard(streaming_run, tones):
    live = Live(streaming_run.folder, tones.RATE)
    assert heard(live, pcm_of(np.zeros(100, np.float32)), 2) == ""
    assert live.seconds == 100 / tones.RATE


def test_sound_that_ends_within_a_sample_is_refused(streaming_run, tones):
    live = Live(streaming_run.folder, tones.RATE)
    live.push(b"\0\0\0")
    with pytest.raises(DataError, match=r"ends within a sample.*an odd byte.*arecord"):
        live.finish()


def test_a_wav_file_and_no_sound_at_all_are_refused(streaming_run, tones):
    with pytest.raises(DataError, match=r"a WAV file is piped in.*rondeau predict"):
        list(listen(Live(streaming_run.folder, tones.RATE), io.BytesIO(b"RIFF1234WAVE")))
    with pytest.raises(DataError, match="no sound is piped in"):
        list(listen(Live(streaming_run.folder, tones.RATE), io.BytesIO(b"")))
    with pytest.raises(ArgumentError, match="rate"):
        Live(streaming_run.folder, 0)


def test_runs_that_cannot_hear_as_sound_comes_are_refused(tones, tmp_path):
    manifest = tones.write_speech(tmp_path / "data", speakers=3, each=4)
    both = train(manifest, out=tmp_path / "both", **{**tones.TINY, "epochs": 1})
    with pytest.raises(ArgumentError, match=r"reads both ways.*--streaming"):
        Live(both.folder, tones.RATE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text((both.path / "config.json").read_text().replace("speech_recognition", "tagging"))
    from rondeau.tasks.run_folder import RunFolder

    with pytest.raises(ArgumentError, match="hears no speech"):
        Live(RunFolder.open(other), tones.RATE)
