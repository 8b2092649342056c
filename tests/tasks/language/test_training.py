"""The main job: same seed same result, killed and resumed the same result, and what goes wrong is said."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rondeau.data.disk import cache
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.tasks.language import training as task
from rondeau.tasks.language.judging import scores
from rondeau.tasks.language.task import LanguageModel
from rondeau.tasks.language.training import Settings
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import Speed, read_speed, total_speed
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs
from rondeau.training.files import load_tensors

SMALL = Settings(units=16, embedding=8, window=16, batch_size=8, epochs=3, dropout=0.2, learning_rate=0.01)


def _text(sentences: int = 600) -> str:
    words = random.Random(0)
    nouns, verbs = ["cat", "dog", "bird", "fish", "tree"], ["sees", "likes", "finds", "hears"]
    lines = (f"the {words.choice(nouns)} {words.choice(verbs)} the {words.choice(nouns)}.\n" for _ in range(sentences))
    return "".join(lines)


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text(_text())
    return path


def _no_view(tokens: int, speed: Speed) -> list[object]:
    return []


def _train(settings: Settings, out: Path) -> RunFolder:
    run, corpus = task.begin(settings, out)
    assert task.fit(run, settings, corpus, _no_view)
    return run


@pytest.fixture(scope="module")
def finished(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return _train(replace(SMALL, path=str(text_file)), tmp_path_factory.mktemp("runs") / "whole")


def _same_end(a: RunFolder, b: RunFolder) -> None:
    (ours, meta), (theirs, other) = (load_tensors(run.checkpoint, "checkpoint") for run in (a, b))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert meta == other
    assert a.history.read_bytes() == b.history.read_bytes()
    assert (a.model / "weights.safetensors").read_bytes() == (b.model / "weights.safetensors").read_bytes()


def test_same_seed_same_result_bit_for_bit(text_file: Path, finished: RunFolder, tmp_path: Path) -> None:
    _same_end(finished, _train(replace(SMALL, path=str(text_file)), tmp_path / "again"))


def test_another_seed_is_another_result(text_file: Path, finished: RunFolder, tmp_path: Path) -> None:
    other = _train(replace(SMALL, path=str(text_file), seed=1), tmp_path / "other")
    assert other.history.read_bytes() != finished.history.read_bytes()


KILLED = """
import sys
from rondeau.tasks.language import training as task
from rondeau.training.callbacks import Callback
import os, signal

class Kill(Callback):
    def __init__(self): self.left = int(sys.argv[2])
    def on_train_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), getattr(signal, sys.argv[3]))

run, settings, corpus = task.reopen(__import__("pathlib").Path(sys.argv[1]))
print("finished", task.fit(run, settings, corpus, lambda tokens, speed: [Kill()]))
"""


@pytest.mark.parametrize(
    ("kills", "signals"),
    [([4], "SIGKILL"), ([30, 33, 2], "SIGKILL"), ([7, 40], "SIGINT")],
    ids=["in the first epoch", "again and again", "ctrl-c"],
)
def test_killed_and_resumed_ends_as_if_never_interrupted(
    text_file: Path, finished: RunFolder, tmp_path: Path, kills: list[int], signals: str
) -> None:
    settings = replace(SMALL, path=str(text_file), checkpoint_seconds=0.0)
    run, _ = task.begin(settings, tmp_path / "run")
    for batches in kills:
        command = [sys.executable, "-c", KILLED, str(run.path), str(batches), signals]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if signals == "SIGKILL":
            assert done.returncode == -signal.SIGKILL
        else:
            assert done.stdout.strip() == "finished False", done.stderr
    (run.path / ".checkpoint.safetensors.half").write_bytes(b"what a process killed while it wrote leaves behind")
    run, settings, corpus = task.reopen(run.path)
    assert task.fit(run, settings, corpus, _no_view)
    _same_end(finished, run)
    assert not list(run.path.glob(".*"))


def test_resuming_a_finished_run_changes_nothing(finished: RunFolder) -> None:
    before = finished.checkpoint.read_bytes(), finished.history.read_bytes()
    run, settings, corpus = task.reopen(finished.path)
    assert task.fit(run, settings, corpus, _no_view)
    assert (finished.checkpoint.read_bytes(), finished.history.read_bytes()) == before


def test_results_put_the_model_beside_three_baselines_on_the_same_text(finished: RunFolder) -> None:
    _, settings, corpus = task.reopen(finished.path)
    rows = task.compare(finished, settings, corpus, _no_view).rows
    assert [row.name.split()[0].rstrip(",") for row in rows] == ["unigram", "5-gram", "feed-forward", "lstm"]
    bits = [row.scores["bits_per_character"] for row in rows]
    assert bits[0] > max(bits[1:])  # whoever sees the past beats the unigram
    assert abs(rows[2].parameters - rows[3].parameters) < 0.1 * rows[3].parameters
    assert json.loads(finished.results.read_text())["rows"][0]["name"] == "unigram"
    history = finished.read_lines(finished.history)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    told = json.loads(finished.results.read_text())
    for row in rows:
        for name, value in row.scores.items():
            low, high = row.intervals[name]
            assert low < value < high
        ends = [2 ** (end / row.scores["bits_per_character"]) for end in row.intervals["bits_per_character"]]
        assert ends[0] < 2 < ends[1]
    assert told["rows"][3]["intervals"]["perplexity"] == list(rows[3].intervals["perplexity"])
    assert "1,000 characters drawn anew" in told["notes"][0]


def test_the_bits_are_those_of_the_whole_text_read_at_once(finished: RunFolder) -> None:
    """Windows and running means change nothing: 1e-5 is some 80 float32 epsilons of a sum over hundreds of steps."""
    _, _, corpus = task.reopen(finished.path)
    model, ids = finished.load_model(), torch.as_tensor(corpus.ids[2])
    with torch.no_grad():
        logits = model(ids[None, :-1])[0].double()
    nats = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").item()
    model.reset_states()
    assert task.model_bits(model, corpus.ids[2]).sum() == pytest.approx(nats / math.log(2), rel=1e-5)


def test_the_figures_are_those_of_the_bits_by_hand() -> None:
    bits = np.tile([1.0, 3.0], 5000)  # tokens of two characters each
    figures, ends = scores(bits, per_token=2.0)
    assert figures == {"bits_per_character": 1.0, "perplexity": 4.0}
    assert ends["bits_per_character"] == pytest.approx((1.0, 1.0))  # every stretch of 500 has as many of both
    assert ends["perplexity"] == pytest.approx((4.0, 4.0))


def test_a_run_says_how_its_text_was_divided_and_what_has_leaked(text_file: Path, tmp_path: Path) -> None:
    copied = "a line of forty letters or more that stands there twice, word for word\n"
    (tmp_path / "leaky.txt").write_text(copied + text_file.read_text() + copied)
    run, corpus = task.begin(replace(SMALL, path=str(tmp_path / "leaky.txt")), tmp_path / "run")
    notes = json.loads(run.config.read_text())["data"]["notes"]
    assert notes == corpus.notes
    assert notes[0] == "held out is the end of the text"
    assert notes[1].startswith("1 of 1 held-out lines of 40 characters or more stand in the training text too")
    assert "word for word" in notes[1]
    folder = tmp_path / "letters"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i}.txt").write_text(f"letter {i}\n\n" + text_file.read_text()[i * 100 : i * 100 + 400])
    (folder / "copy.txt").write_text((folder / "3.txt").read_text())
    notes = task.read_corpus(replace(SMALL, path=str(folder), batch_size=2)).notes
    assert notes[0].startswith("held out are whole documents, of 31")
    assert any("repeat others" in note for note in notes)


def test_samples_are_written_and_repeat(finished: RunFolder) -> None:
    _, settings, corpus = task.reopen(finished.path)
    first = task.write_samples(finished, settings, corpus, length=50)
    assert first.startswith(corpus.text.test[:40] + "|")
    assert len(first) == 40 + 1 + 50
    assert first == task.write_samples(finished, settings, corpus, length=50)
    assert "temperature 0.5" in finished.samples.read_text()


def test_byte_pairs(text_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    settings = replace(SMALL, path=str(text_file), tokens="bpe", vocabulary=300, batch_size=4, window=8)
    run = _train(settings, tmp_path / "bpe")
    rows = task.compare(run, settings, task.reopen(run.path)[2], _no_view).rows
    assert all(0 < row.scores["bits_per_character"] < 8 for row in rows)


def test_a_run_folder_is_never_overwritten_unasked(text_file: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, path=str(text_file))
    run, _ = task.begin(settings, tmp_path / "run")
    run.samples.write_text("precious")
    with pytest.raises(CheckpointError, match=r"the run folder exists.*--overwrite"):
        task.begin(settings, run.path)
    assert run.samples.read_text() == "precious"
    task.begin(settings, run.path, overwrite=True)
    assert not run.samples.exists()


def test_overwriting_what_is_no_run_is_refused(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(CheckpointError, match="not a run of Rondeau"):
        task.begin(replace(SMALL, path=str(text_file)), tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").exists()


def test_a_bad_path_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        task.begin(replace(SMALL, path=str(tmp_path / "absent.txt")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_changed_text_is_not_resumed_on(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(_text())
    run, _ = task.begin(replace(SMALL, path=str(path)), tmp_path / "run")
    path.write_text(_text() + "the end.\n")
    with pytest.raises(CheckpointError, match="not the one the run began with"):
        task.reopen(run.path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: run.config.unlink(), "there is no run"),
        (lambda run: run.config.write_text("{"), "missing or damaged"),
        (lambda run: run.config.write_text('{"format": "other"}'), "not a run of Rondeau"),
        (lambda run: run.config.write_text('{"format": "rondeau-run", "version": 99}'), "newer Rondeau"),
        (lambda run: run.vocabulary.unlink(), "missing or damaged"),
    ],
)
def test_damaged_run_folders_are_named(text_file: Path, tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    run, _ = task.begin(replace(SMALL, path=str(text_file)), tmp_path / "run")
    damage(run)
    with pytest.raises(CheckpointError, match=message):
        task.reopen(run.path)


def test_a_run_without_a_model_says_so(text_file: Path, tmp_path: Path) -> None:
    run, _ = task.begin(replace(SMALL, path=str(text_file)), tmp_path / "run")
    with pytest.raises(CheckpointError, match="no model yet"):
        run.load_model()


@pytest.mark.parametrize("text", ["", "too short"])
def test_too_little_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(DataError):
        task.read_corpus(replace(SMALL, path=str(tmp_path / "text.txt")))


def test_unknown_tokens_and_prompts_are_named(text_file: Path, finished: RunFolder) -> None:
    with pytest.raises(ArgumentError, match="there is no kind of tokens called 'letters'"):
        task.read_corpus(replace(SMALL, path=str(text_file), tokens="letters"))
    with pytest.raises(DataError, match=r"never seen.*'é'"):
        task.prompt_ids(finished.tokenizer(), "caté")
    with pytest.raises(DataError, match="prompt is empty"):
        task.prompt_ids(finished.tokenizer(), "")


def test_words_with_a_sampled_softmax(text_file: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, path=str(text_file), tokens="words", sampled=5, batch_size=4, window=8, epochs=2)
    run = _train(settings, tmp_path / "run")
    corpus = task.reopen(run.path)[2]
    results = task.compare(run, settings, corpus, _no_view)
    assert results.metric == task.PERPLEXITY
    assert 1 < results.own.scores["perplexity"] < 4 * corpus.tokenizer.size
    assert "known, " in results.notes[0] or "known; " in results.notes[0]
    assert set(results.own.intervals) == set(results.own.scores)
    assert run.read_lines(run.history)[0].keys() >= {"perplexity", "val_perplexity"}
    with pytest.raises(ArgumentError, match="sampled"):
        task.check(replace(settings, sampled=10**6), corpus)
    with pytest.raises(DataError, match=r"a word the run has never seen.*' unheard'"):
        task.prompt_ids(corpus.tokenizer, corpus.tokenizer.tokens[1] + " unheard")


# Texts that are larger than memory


def test_a_large_text_is_read_from_disk_and_learnt_from(
    text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(task, "LARGE", 1000)
    monkeypatch.setattr(task, "EXCERPT", 5000)
    settings = replace(SMALL, path=str(text_file), epochs=1)
    run = _train(settings, tmp_path / "run")
    _, _, corpus = task.reopen(run.path)
    assert isinstance(corpus.ids[0], np.memmap)
    assert corpus.ids[0].dtype == np.uint8
    assert sum(corpus.characters.values()) == len(text_file.read_text())
    assert corpus.note is not None
    assert "the last 5,000 tokens" in corpus.note
    assert corpus.notes[0] == "held out is the end of the text"
    assert "0 of 0 held-out lines" in corpus.notes[1]
    rows = task.compare(run, settings, corpus, _no_view).rows
    assert rows[0].name == "unigram (of the last 5,000 training tokens)"
    assert rows[0].scores["bits_per_character"] > rows[3].scores["bits_per_character"] > 0
    text_file.with_name("longer").write_text(text_file.read_text() + "the end.\n")
    config = json.loads(run.config.read_text())
    config["settings"]["path"] = str(text_file.with_name("longer"))
    run.config.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="not the one the run began with"):
        task.reopen(run.path)


# Speed


def test_every_epoch_s_speed_is_written_beside_what_the_seed_repeats(finished: RunFolder) -> None:
    _, _, corpus = task.reopen(finished.path)
    records = read_speed(finished)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert all(record["tokens"] == len(corpus.ids[0]) - 1 for record in records)  # all but the first are learnt
    assert all(r["tokens_per_second"] == r["tokens"] / r["seconds"] for r in records)
    whole = total_speed(records)
    assert whole is not None
    assert whole["tokens"] == 3 * (len(corpus.ids[0]) - 1)
    assert "tokens_per_second" not in finished.history.read_text() + finished.config.read_text()


def test_of_an_interrupted_epoch_the_rest_is_measured(text_file: Path, tmp_path: Path) -> None:
    settings = replace(SMALL, path=str(text_file), checkpoint_seconds=0.0, epochs=2)
    run, corpus = task.begin(settings, tmp_path / "run")
    assert not task.fit(run, settings, corpus, lambda tokens, speed: [Interrupt(5)])
    assert read_speed(run) == []
    assert task.fit(run, settings, corpus, _no_view)
    first, second = (record["tokens"] for record in read_speed(run))
    assert second == len(corpus.ids[0]) - 1
    assert first == second - 5 * settings.batch_size * settings.window


class Interrupt(Callback):
    """Leaves after so many batches, as Ctrl-C does."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.left -= 1
        self.loop.interrupted = self.left == 0


def test_a_table_of_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "posts.jsonl"
    lines = [json.dumps({"id": i, "body": f"the {i} posts hang on the wall, said number {i}"}) for i in range(60)]
    table.write_text("\n".join([*lines, json.dumps({"id": 99, "body": ""}), "{broken"]))
    settings = replace(SMALL, path=str(table), batch_size=2, window=4)
    with pytest.raises(DataError, match=r"posts\.jsonl.*62"):
        task.read_corpus(settings)
    corpus = task.read_corpus(replace(settings, on_error="skip"))
    assert sum(kind["count"] for kind in corpus.skipped.values()) == 1
    assert "left out: 1 empty documents; 1 " in caplog.text
    assert sum(corpus.characters.values()) > 60 * len("the 1 posts hang on the wall, said number 1")
    assert "broken" not in corpus.text.train
    why = LanguageModel().guess(table)
    assert why is not None
    assert "'body'" in why
    with pytest.raises(ArgumentError, match="no such column"):
        task.read_corpus(replace(settings, text_column="absent", on_error="skip"))
