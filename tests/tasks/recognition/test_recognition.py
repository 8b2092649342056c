"""Speech recognition from files to words: reading, learning, answering, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError
from rondeau.report import write_report
from rondeau.tasks.api import Run, train
from rondeau.tasks.recognition.reading import find_speech
from rondeau.tasks.recognition.settings import RecognitionSettings
from rondeau.tasks.registry import get_task, guess_task

PLAIN = RecognitionSettings(listen=False)


def test_it_learns_to_write_what_is_said(streaming_run):
    results = streaming_run.results
    own = results.own
    assert own.scores["cer"] < 0.1
    for row in results.rows[:-1]:
        assert own.scores["wer"] < row.scores["wer"]
    low, high = own.intervals["cer"]
    assert low <= own.scores["cer"] <= high
    names = [row.name for row in results.rows]
    assert names[0].startswith("always ")
    assert "time warping, between pauses" in names[1]


def test_no_speaker_is_on_two_sides(streaming_run):
    config = streaming_run.folder.read_json(streaming_run.folder.config)
    assert any("divided by speaker: 6" in note for note in config["data"]["notes"])
    rows = streaming_run.folder.read_lines(streaming_run.folder.predictions)
    assert len({row["path"].split("/")[0] for row in rows}) == 1
    assert config["data"]["sizes"]["recordings"] == {"train": 48, "validation": 12, "test": 12}


def test_predict_gives_text_and_words_in_another_process(streaming_run, speech, tmp_path, tones):
    soundfile.write(tmp_path / "new.wav", tones.spoken("ab ca", 1.01, 77), tones.RATE, "PCM_16")
    command = [sys.executable, "-m", "rondeau", "predict", str(streaming_run.path), str(tmp_path / "new.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    assert record["text"] == "ab ca"
    first, second = record["words"]
    assert (first["word"], second["word"]) == ("ab", "ca")
    assert 0 <= first["at"] < 0.2 < second["at"] < 0.7
    assert record["log_probability"] <= 0
    [same] = streaming_run.predict(tmp_path / "new.wav")
    assert same == record


def test_evaluate_names_characters_that_were_never_learnt(streaming_run, tmp_path, tones):
    manifest = tones.write_speech(tmp_path, speakers=1, each=3)
    lines = manifest.read_text().splitlines()
    lines[1] = lines[1].split(",")[0] + ",xyx,ann"
    manifest.write_text("\n".join(lines) + "\n")
    task = get_task("speech_recognition")
    results = task.evaluate(streaming_run.folder, str(manifest), "cpu")
    assert any("'x' (2), 'y' (1)" in note for note in results.notes)
    assert results.own.scores["cer"] > 0


def test_findings_and_report(streaming_run):
    findings = streaming_run.folder.read_json(streaming_run.folder.findings)
    assert {"examples", "worst", "by_group"} <= set(findings)
    assert findings["by_group"][0]["rows"][0][0] == 1
    write_report(streaming_run.path, streaming_run.folder.report)
    page = streaming_run.folder.report.read_text(encoding="utf-8")
    assert "word error rate" in page
    assert findings["examples"][0]["said"] in page


def test_both_ways_with_an_ngram_and_texts_beside(tmp_path, tones):
    folder = tones.write_speech(tmp_path / "data", speakers=3, each=6, texts=True)
    task, why = guess_task(folder)
    assert task.name == "speech_recognition"
    assert "text files lie beside" in why
    run = train(folder, out=tmp_path / "run", **{**tones.TINY, "ngram": 3, "epochs": 1, "augment": "strong"})
    assert run.model.bidirectional
    prepared = run.folder.read_json(run.folder.prepared)
    assert prepared["language"]["order"] == 3
    assert prepared["alphabet"]["characters"] == [" ", "a", "b", "c"]
    assert run.results.own.name == "ctc, lstm both ways, 1 x 24, beam 8, 3-gram of characters"
    assert len(run.predict(folder)) == 18


def test_a_manifest_is_guessed(speech):
    assert guess_task(speech)[0].name == "speech_recognition"
    assert guess_task(speech.parent)[0].name == "speech_recognition"


def test_the_same_seed_gives_the_same_run(tmp_path, tones):
    manifest = tones.write_speech(tmp_path, speakers=3, each=4)
    options = {**tones.TINY, "augment": "strong", "epochs": 2, "streaming": True}
    one, two = (train(manifest, "speech_recognition", tmp_path / name, **options) for name in ("one", "two"))
    assert one.folder.history.read_text() == two.folder.history.read_text()


# reading, and what is refused


def test_transcripts_beside_files_have_speakers_and_parts(tmp_path, tones):
    made = tones.write_speech(tmp_path / "all", speakers=2, each=2, texts=True)
    (tmp_path / "data" / "train").mkdir(parents=True)
    shutil.move(made / "bob0", tmp_path / "data" / "train" / "bob0")
    (tmp_path / "data" / "test").mkdir()
    shutil.move(made / "ann1", tmp_path / "data" / "test" / "ann1")
    found = find_speech(str(tmp_path / "data"), PLAIN, Faults())
    assert [(one.speaker, one.part) for one in found] == [("ann1", "test")] * 2 + [("bob0", "train")] * 2
    assert all(one.text for one in found)


def test_a_missing_transcript_is_named(tmp_path, tones):
    folder = tones.write_speech(tmp_path, speakers=1, each=3, texts=True)
    (folder / "bob0" / "1.txt").unlink()
    with pytest.raises(DataError, match=r"no transcript \(at bob0/1\.wav\)"):
        find_speech(str(folder), PLAIN, Faults())
    faults = Faults("skip")
    assert len(find_speech(str(folder), PLAIN, faults)) == 2
    assert faults.total == 1


def test_data_without_any_transcript_are_refused(tmp_path, tones):
    folder = tones.write_speech(tmp_path, speakers=1, each=2)
    (tmp_path / "manifest.csv").unlink()
    with pytest.raises(DataError, match=r"no recording has a transcript.*columns `path` and `text`"):
        find_speech(str(folder.parent), PLAIN, Faults())


def test_a_transcript_that_is_no_text_is_named(tmp_path, tones):
    folder = tones.write_speech(tmp_path, speakers=1, each=2, texts=True)
    (folder / "bob0" / "1.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"no UTF-8 \(at bob0/1\.txt\)"):
        find_speech(str(folder), PLAIN, Faults())


def test_a_transcript_longer_than_ctc_can_align_is_named(tmp_path, tones):
    manifest = tones.write_speech(tmp_path, speakers=3, each=4)
    lines = manifest.read_text().splitlines()
    name = lines[5].split(",")[0]
    lines[5] = f"{name},{'aa' * 60},bob0"
    manifest.write_text("\n".join(lines) + "\n")
    task = get_task("speech_recognition")
    settings = replace(PLAIN, path=str(manifest), insight=False)
    with pytest.raises(DataError, match=rf"longer than CTC can align.*{name}.*expected 239 steps.*smaller --stride"):
        task.read(settings)
    skipped = task.read(replace(settings, on_error="skip"))
    assert [kind["count"] for kind in skipped.skipped.values()] == [1]
    assert len(task.read(replace(settings, head="transducer")).train) > 0


def test_a_recording_is_taken_as_it_is_where_its_alteration_leaves_no_room(tmp_path, tones):
    from rondeau.data.audio.augment import Augment
    from rondeau.data.audio.batches import Frames
    from rondeau.data.audio.features import Features
    from rondeau.models.stacking import Stacking
    from rondeau.tasks.recognition.batches import SpeechBatches

    found = find_speech(str(tones.write_speech(tmp_path, speakers=1, each=4)), PLAIN, Faults())
    frames = Frames(found, Features(rate=tones.RATE, bands=8), augment=Augment(stretch=0.5))
    lengths = frames.lengths()
    symbols = [[1, 2] * (int(n) // 2) for n in lengths]
    for aligned, expected in ((True, 0), (False, 1)):
        batches = SpeechBatches(frames, symbols, Stacking(1, 1), 4, training=True, aligned=aligned)
        shorter = 0
        for epoch in range(3):
            for numbers in batches.numbers(epoch, 0, 1):
                batch = batches.made(numbers)
                heard, said = batch.x
                shorter += int((heard.lengths < said.lengths).sum())
        assert (shorter > 0) == bool(expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head": "attention"}, "head"),
        ({"beam": 0}, "beam"),
        ({"ngram": 4, "beam": 1}, "it helps a beam only"),
        ({"ngram": 0}, "ngram"),
        ({"ngram_weight": -1.0}, "ngram_weight"),
        ({"dropout": 1.0}, "dropout"),
        ({"stride": 0}, "stride"),
        ({"rate": 1}, "rate"),
        ({"workers": -1}, "workers"),
    ],
)
def test_settings_no_run_can_begin_with(wrong, message):
    with pytest.raises(ArgumentError, match=message):
        replace(PLAIN, **wrong).check()


def test_words_are_scored_as_jiwer_counts_them():
    from rondeau.tasks.recognition.scores import Scored

    scored = Scored(["a b c", "", "d"], ["a x", "y z", "d"])
    assert scored.words.tolist() == [[2, 3], [2, 0], [0, 1]]
    figures = scored.figures()
    assert figures["wer"] == 1.0
    assert figures["exact"] == pytest.approx(1 / 3)
    assert np.isnan(Scored([""], [""]).figures()["wer"])


def test_the_running_mean_in_pieces_is_that_at_once():
    from rondeau.tasks.recognition.prepared import RunningMean

    frames, loud = np.random.default_rng(0).standard_normal((700, 3)).astype(np.float32), np.array([1.0, 0.5, 0.0])
    whole, pieces = RunningMean(loud), RunningMean(loud)
    found = np.concatenate([pieces.push(part) for part in np.array_split(frames, 9)])
    np.testing.assert_array_equal(whole.push(frames), found)
    later = RunningMean(loud).push(np.full((2000, 3), 2.0, np.float32))
    np.testing.assert_allclose(later[0], 2 - (2 - loud) / 51, rtol=1e-6)
    np.testing.assert_allclose(later[-1], loud, atol=0.01)  # what stays the same is gone after some seconds
    quiet = np.full((50, 3), -2.0, np.float32)
    np.testing.assert_array_equal(RunningMean(loud).push(quiet), quiet)  # nothing is learnt of a voice from a pause


def test_loud_frames_are_those_above_the_mean(tones, tmp_path):
    from rondeau.data.audio.batches import Frames
    from rondeau.data.audio.features import Features
    from rondeau.tasks.recognition.prepared import learn_loud

    found = find_speech(str(tones.write_speech(tmp_path, speakers=1, each=3)), PLAIN, Faults())
    frames = Frames(found, Features(rate=tones.RATE, bands=4), lambda x: x + 8)
    every = np.concatenate([frames[i] for i in range(3)])
    np.testing.assert_allclose(learn_loud(frames), every[every.mean(1) > 0].mean(0), rtol=1e-5)


def test_a_stored_run_can_be_opened_again(streaming_run):
    again = Run(streaming_run.path)
    settings, prepared = get_task("speech_recognition").opened(again.folder)
    assert settings.streaming
    assert prepared.loud is not None
    assert prepared.finish(np.zeros((5, 12), np.float32)).shape == (5, 12)
