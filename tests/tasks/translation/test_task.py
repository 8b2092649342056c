"""The translation task, from files to a judged model, on a language of a few words."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from rondeau.cli import options
from rondeau.data.faults import Faults
from rondeau.data.texts.pairs import Pair, Pairs, PairStore
from rondeau.data.texts.vocabulary import UNKNOWN
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.models import EncoderDecoder
from rondeau.report import write_report
from rondeau.tasks.api import Run
from rondeau.tasks.look import Look
from rondeau.tasks.registry import get_task, guess_task
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.translation.data import Prepared, TranslationSettings, divide
from rondeau.tasks.translation.explaining import Continuing
from rondeau.tasks.translation.task import Translation
from rondeau.tasks.translation.writing import looks, write

WORDS = {"rot": "red", "blau": "blue", "haus": "house", "hund": "dog", "katze": "cat", "baum": "tree", "und": "and"}
TINY: dict[str, Any] = {
    "units": 32,
    "embedding": 16,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "insight": False,
    "beam": 2,
}


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Words one by one in another language, last first."""
    generator = random.Random(seed)
    drawn = [generator.choices(list(WORDS), k=generator.randint(2, 5)) for _ in range(count)]
    return [(" ".join(words), " ".join(WORDS[word] for word in reversed(words))) for words in drawn]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "words.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in sentences(600)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(file: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    job = Translation()
    settings = TranslationSettings(path=str(file), epochs=6, **TINY)
    work = job.begin(settings, tmp_path_factory.mktemp("runs") / "run")
    assert job.fit(work, lambda *_: [])
    job.conclude(work, lambda *_: [])
    return work.run


def test_it_learns_a_language_of_a_few_words(run: RunFolder) -> None:
    found = run.read_json(run.results)
    rows = {row["name"]: row["scores"] for row in found["rows"]}
    copied, dictionary, own = rows.values()
    assert next(iter(rows)) == "the source as it is"
    assert list(rows)[-1] == "gru, 1 x 32 with additive attention, beam 2"
    assert copied["bleu"] < 1
    assert own["bleu"] > 80 > dictionary["bleu"]
    assert own["perplexity"] < 1.5
    assert dictionary["chrf"] > copied["chrf"]
    assert "perplexity" not in dictionary
    low, high = found["rows"][-1]["intervals"]["bleu"]
    assert low <= own["bleu"] <= high


def test_the_attention_turns_the_order_round(run: RunFolder) -> None:
    found = run.read_json(run.findings)
    looks_of = found["attention"]
    assert looks_of
    hits = total = 0
    for look in looks_of:
        weights = np.asarray(look["weights"])
        assert weights.shape == (len(look["target"]), len(look["source"]))
        assert look["target"][-1] == "(end)"
        assert np.allclose(weights.sum(1), 1, atol=1e-2)
        for token, row in zip(look["target"], weights[:-1], strict=False):
            hits += WORDS.get(look["source"][int(row.argmax())]) == token
            total += 1
    assert hits / total > 0.7
    assert {"source", "reference", "translation"} == set(found["examples"][0])
    assert sum(row[1] for row in found["by_group"]["rows"]) == 60


def test_predictions_come_from_files_and_standard_input(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Translation()
    given = tmp_path / "in.txt"
    given.write_text("hund und katze\n\nxylophon rot\n", encoding="utf-8")
    found = list(job.predict(run, str(given), "cpu", {}))
    assert [one["source"] for one in found] == ["hund und katze", "", "xylophon rot"]
    assert found[0]["translation"] == "cat and dog"
    assert found[1]["translation"] == ""
    assert found[0]["log_probability"] < 0
    for text in ("hund und katze\n", "hund und katze\tcat and dog\n", '{"source": "hund und katze"}\n'):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert list(job.predict(run, "-", "cpu", {})) == found[:1]


def test_predict_takes_a_beam_and_refuses_what_it_does_not_know(run: RunFolder, tmp_path: Path) -> None:
    given = tmp_path / "in.txt"
    given.write_text("".join(f"{a}\n" for a, _ in sentences(30, seed=5)), encoding="utf-8")
    found = {beam: list(Run(run.path).predict(given, "cpu", beam=beam)) for beam in (1, 2, 6)}
    assert found[2] == Run(run.path).predict(given, "cpu") == Run(run.path).predict(given, "cpu", beam=None)
    logs = {beam: [one["log_probability"] for one in records] for beam, records in found.items()}
    assert logs[1] != logs[6]  # other translations of some, with other probabilities
    asked = options.read_predict([str(run.path), str(given), "--beam", "6", "--length-penalty", "0"])
    assert asked.options == {"beam": 6, "length_penalty": 0.0}
    assert "--beam" in options.help_of_predict([str(run.path), "--help"])
    assert "--beam" not in options.help_of_predict(["--help"])
    with pytest.raises(ArgumentError, match="beam: expected 1 or more, got 0"):
        Run(run.path).predict(given, beam=0)
    with pytest.raises(ArgumentError, match="no option of predict by translation called 'horizon'"):
        Run(run.path).predict(given, horizon=3)
    with pytest.raises(click.NoSuchOption, match="--horizon"):
        options.read_predict([str(run.path), str(given), "--horizon", "3"])


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_word_is_explained_by_the_source_words_it_leans_on(run: RunFolder, tmp_path: Path, method: str) -> None:
    given = tmp_path / "in.txt"
    given.write_text("hund und katze\nrot blau haus\n\nbaum rot\n", encoding="utf-8")
    found = Translation().inspect(run, Look(str(given), method=method))
    assert len(found["saliency"]) == 2  # of nothing there is nothing to explain
    hits = 0
    for one in found["saliency"]:
        words = [word.strip() for word in one["context"]]
        word, before = one["token"].split(", after ")
        assert one["unit"] == "bits"
        assert len(one["scores"]) == len(words) == len(one["attention"])
        assert sum(one["attention"]) == pytest.approx(1, abs=1e-2)
        assert one["bits"] < one["baseline_bits"]  # the source makes it likelier
        if word != "(end)":
            hits += WORDS[words[int(np.argmax(one["scores"]))]] == word
            assert before == "nothing" or set(before.split()) <= set(WORDS.values())
        else:
            hits += 1
    assert hits >= 1
    assert all(len(state["values"][0]) == len(found["hidden"]["tokens"]) for state in found["hidden"]["states"])
    assert found["hidden"]["states"]
    run.write_json(run.inspected, found)
    page = Path(write_report(run.path, tmp_path / "report.html")).read_text(encoding="utf-8")
    assert "The attention lay on" in page


def test_what_comes_next_is_that_of_the_model_itself(run: RunFolder) -> None:
    model = run.load_model().eval()
    source, written = torch.tensor([[4, 5, 3]]), [6, 7]
    with torch.no_grad():
        logs = Continuing(model, written)(source.repeat(2, 1)).log_softmax(-1)
        ends = [Continuing(model, written[:i])(source).log_softmax(-1)[0, t] for i, t in enumerate(written)]
    assert logs.shape[0] == 2
    whole = float(sum(ends)) + float(logs[1, model.end_token])
    assert whole == pytest.approx(float(model.log_probability([[4, 5, 3]], [written])[0]), rel=1e-5)


def test_other_pairs_are_judged(run: RunFolder, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("".join(f"{a}\t{b}\n" for a, b in sentences(20, seed=9)), encoding="utf-8")
    results = Translation().evaluate(run, str(other), "cpu")
    assert results.own.scores["bleu"] > 70


def test_of_a_folder_in_parts_the_last_one_is_judged(run: RunFolder, tmp_path: Path) -> None:
    for part, count in (("train", 40), ("val", 20)):
        for side, column in (("de", 0), ("en", 1)):
            lines = [pair[column] for pair in sentences(count, seed=count)]
            (tmp_path / f"{part}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert f"the validation part of {tmp_path}" in Translation().evaluate(run, str(tmp_path), "cpu").notes


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    job = Translation()
    file = tmp_path / "few.tsv"
    file.write_text("".join(f"{a}\t{b}\n" for a, b in sentences(100)), encoding="utf-8")
    settings = TranslationSettings(path=str(file), epochs=2, **{**TINY, "dropout": 0.2})
    whole, parted = (job.begin(settings, tmp_path / name) for name in ("whole", "parted"))
    assert job.fit(whole, lambda *_: [])

    from rondeau.training.callbacks import Callback

    class Stop(Callback):
        def on_train_batch_end(self, batch: int, logs: Any) -> None:
            self.loop.interrupted = self.loop.epoch == 1 and batch == 3

    assert not job.fit(parted, lambda *_: [Stop()])
    assert job.fit(job.reopen(RunFolder.open(parted.run.path)), lambda *_: [])
    one, other = (work.run.load_model().state_dict() for work in (whole, parted))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_preparation_goes_through_json(file: Path) -> None:
    job = Translation()
    for unit in ("words", "characters", "bpe"):
        settings = TranslationSettings(path=str(file), unit=unit, pieces=270, lower=True)
        data = job.read(settings)
        prepared = job.prepare(settings, data)
        again = job.load_prepared(json.loads(json.dumps(prepared.to_json())))
        for mine, other in zip(prepared.encode(data.test), again.encode(data.test), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(mine, other, strict=True))
        assert again.names == ("", "")
    with pytest.raises(CheckpointError, match="damaged"):
        job.load_prepared({"names": ["a", "b"]})


def test_the_vocabulary_knows_the_training_part_alone(file: Path) -> None:
    job = Translation()
    settings = TranslationSettings(path=str(file), min_count=1)
    data = job.read(settings)
    seen = {word for pair in data.train for word in pair.source.split()}
    prepared = job.prepare(settings, data)
    assert set(prepared.source.vocabulary.tokens[2:]) == seen


def test_an_unknown_answer_is_the_word_looked_at(file: Path) -> None:
    """A model whose answers are all unknown, and whose attention lies on the last word."""
    job = Translation()
    settings = TranslationSettings(path=str(file), **TINY)
    data = job.read(settings)
    prepared = job.prepare(settings, data)
    model = job.build(settings, prepared, data)

    class Fixed:
        def hypotheses(self, sources: Any, *_: Any) -> Any:
            from rondeau.heads.beam import Hypothesis

            begin = prepared.target.vocabulary.size  # what is no text is not written
            return [[Hypothesis([begin, UNKNOWN, 2, 0], -1.0, -1.0, True)] for _ in sources]

        def attention_weights(self, sources: Any, targets: Any) -> Any:
            return [torch.eye(len(s))[-1:].repeat(len(t) + 1, 1) for s, t in zip(sources, targets, strict=True)]

    texts = ["rot xylophon", "quark"]
    encoded = [prepared.source.encode(text) for text in texts]
    known = prepared.target.decode([2])[0]
    found = write(Fixed(), settings, prepared, encoded, texts)
    assert [one["translation"] for one in found] == [f"xylophon {known}", f"quark {known}"]
    plain = TranslationSettings(copy_unknown=False)
    assert write(Fixed(), plain, prepared, encoded, texts)[0]["translation"] == f"\ufffd {known}"
    drawn = looks(model, prepared, encoded[:1], [[2, 3, 2]])
    assert len(drawn[0]["weights"]) == 4


def pairs(count: int, start: int = 0) -> PairStore:
    return PairStore(Pair(f"source {i}", f"target {i}", f"line {i}") for i in range(start, start + count))


def test_parts_of_the_files_own_stay_and_leaks_are_named() -> None:
    found = Pairs({"train": pairs(50), "test": pairs(10, start=45)}, "", "", [])
    parts, notes = divide(found, TranslationSettings(validation=0.2))
    assert list(parts["test"]) == list(pairs(10, start=45))
    assert len(parts["train"]) + len(parts["validation"]) == 45
    assert len(parts["validation"]) == 9
    assert notes[0] == (
        "5 pairs of the test part stand in the training part too (such as line 45); they were left out of training"
    )
    with pytest.raises(DataError, match="nothing is left to train on"):
        divide(Pairs({"train": pairs(5), "test": pairs(5), "validation": pairs(5)}, "", "", []), TranslationSettings())


def test_pairs_of_one_source_stay_together() -> None:
    made = [Pair(f"source {i // 5}", f"target {i}", "") for i in range(200)]
    parts, _ = divide(Pairs({"train": PairStore(made)}, "", "", []), TranslationSettings())
    sides = [{pair.source for pair in part} for part in parts.values()]
    assert sum(map(len, sides)) == 40
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_pairs_of_one_group_stay_together() -> None:
    made = [Pair(f"source {i}", f"target {i}", "", str(i // 5)) for i in range(200)]
    parts, notes = divide(Pairs({"train": PairStore(made)}, "", "", []), TranslationSettings(group="book"))
    groups = [{pair.group for pair in part} for part in parts.values()]
    assert sum(map(len, groups)) == 40
    assert notes == ["held out: 10% for validation and 10% for test; pairs of one book stay together"]


def test_too_long_pairs_are_left_out_of_training(file: Path) -> None:
    job = Translation()
    settings = TranslationSettings(path=str(file), max_tokens=3, **TINY)
    data = job.read(settings)
    prepared = job.prepare(settings, data)
    source = job.batches(settings, prepared, data.train, True)
    short = [pair for pair in data.train if len(pair.source.split()) <= 3]
    rows = sum(len(batch.x) for batch in source.batches(0, 0, 0))
    assert rows == len(short) < len(data.train)
    assert job.count_steps(settings, prepared, data.train) == sum(len(pair.target.split()) + 1 for pair in short)
    settings = TranslationSettings(path=str(file), max_tokens=1)
    with pytest.raises(DataError, match="every pair is too long"):
        job.batches(settings, prepared, data.train, True)


def test_bad_lines_are_counted_in_the_data(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.txt"
    broken.write_text(file.read_text(encoding="utf-8") + "no tab\n\tone side\n", encoding="utf-8")
    with pytest.raises(DataError, match="a line without a tab"):
        Translation().read(TranslationSettings(path=str(broken)))
    data = Translation().read(TranslationSettings(path=str(broken), on_error="skip"))
    assert sum(kind["count"] for kind in data.skipped.values()) == 2
    assert isinstance(Faults("skip").to_json(), dict)


def test_the_sentences_of_multi30k_are_all_read(shared: Callable[[str], Path]) -> None:
    job = Translation()
    settings = TranslationSettings(path=str(shared("multi30k")), lower=True)
    data = job.read(settings)
    assert data.sizes == {"pairs": {"train": 29000, "validation": 1014, "test": 1000}}
    assert data.names == ("de", "en")
    assert data.skipped == {}
    assert data.test[0].target == "A man in an orange hat starring at something."


@pytest.mark.parametrize(
    "wrong",
    [{"beam": 0}, {"label_smoothing": 1.0}, {"unit": "syllables"}, {"embedding": 0}, {"pieces": 60, "unit": "bpe"}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        TranslationSettings(**wrong).check()


def test_the_task_is_found_by_name_and_by_its_data(file: Path, tmp_path: Path) -> None:
    assert isinstance(get_task("translation"), Translation)
    for side in ("de", "en"):
        (tmp_path / f"train.{side}").write_text("eins zwei\n")
    task, why = guess_task(tmp_path)
    assert task.name == "translation"
    assert why == "train.de and train.en stand beside each other"


def test_what_the_package_makes_itself_is_its_own() -> None:
    job = Translation()
    data = job.read(job.demo_settings())
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4800, 600, 600]
    assert data.digest == job.read(job.demo_settings()).digest
    prepared = job.prepare(job.demo_settings(), data)
    assert isinstance(prepared, Prepared)
    assert isinstance(job.build(job.demo_settings(), prepared, data), EncoderDecoder)
