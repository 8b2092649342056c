"""Texts classified: read, divided, learnt, judged, saved, and asked again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rondeau.data.made.reviews import made_reviews
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.api import Run
from rondeau.tasks.look import Look
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.texts.prepared import sort_labels
from rondeau.tasks.texts.settings import TextClassificationSettings
from rondeau.tasks.texts.task import TextClassification

pytest.importorskip("sklearn")
JOB = TextClassification()
SMALL = TextClassificationSettings(units=8, embedding=8, epochs=1, insight=False, dropout=0.0, word_dropout=0.0)


def finished(settings: TextClassificationSettings, out: Path) -> tuple[Any, Any]:
    work = JOB.begin(settings, out)
    assert JOB.fit(work, lambda tokens, speed: [])
    return work, JOB.conclude(work, lambda tokens, speed: [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that one word tells apart, the one rarer; a few documents repeat others."""
    root = tmp_path_factory.mktemp("reviews")
    lines = {"good": 90, "bad": 50}
    for label, count in lines.items():
        words = [f"number {i % (count - 5)} is a {label} thing , said {i % 3}" for i in range(count)]
        (root / f"{label}.txt").write_text("\n".join(words) + "\n")
    return root


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Any, Any]:
    out = tmp_path_factory.mktemp("runs") / "1"
    work, results = finished(replace(SMALL, path=str(folder), epochs=6, learning_rate=0.02), out)
    return work.run, work, results


def test_learns_what_can_be_learnt_and_is_judged_beside_others(run: Any) -> None:
    folder, work, results = run
    names = [row.name for row in results.rows]
    assert names == ["majority", "bag of words + logistic regression", "bidirectional lstm, 1 x 8"]
    majority, bag, own = (row.scores for row in results.rows)
    assert own["accuracy"] == bag["accuracy"] == 1
    assert majority["accuracy"] == pytest.approx(9 / 14, abs=0.05)
    assert majority["auroc"] == 0.5
    assert set(own) == {"accuracy", "macro_f1", "auroc", "average_precision"}
    assert results.rows[0].intervals["accuracy"][0] < majority["accuracy"] < results.rows[0].intervals["accuracy"][1]
    findings = json.loads(folder.findings.read_text())
    assert sum(map(sum, findings["confusion"]["counts"])) == len(work.data.test)
    assert findings["curves"]["positive"] == "bad"
    assert {"By class", "By length"} == {table["title"] for table in findings["by_group"]}
    predictions = folder.read_lines(folder.predictions)
    assert len(predictions) == len(work.data.test)
    assert predictions[0]["p(good)"] + predictions[0]["p(bad)"] == pytest.approx(1, abs=2e-6)
    told = "\n".join(JOB.describe(work))
    assert "5 documents repeat others" in told
    assert "% padding if they were padded" in told
    assert "the word 'bad' tells 'bad' from all others by itself: does the answer stand in the texts?" in told


def test_a_fresh_reader_predicts_and_evaluates_the_same(run: Any, folder: Path, tmp_path: Path) -> None:
    run_folder = run[0]
    again = RunFolder.open(run_folder.path)
    texts = tmp_path / "in.txt"
    texts.write_text("number 1 is a good thing\n\nnever seen words , bad ones\n")
    records = list(JOB.predict(again, str(texts), "cpu", {}))
    assert [record["predicted"] for record in records][::2] == ["good", "bad"]
    assert [(record["tokens"], record["unknown_tokens"]) for record in records] == [(6, 0), (0, 0), (6, 4)]
    texts.write_text("number 1 is a bad thing , said 0 , number 2 is a bad thing\nnumber 3 is a good thing\n")
    assert [record["predicted"] for record in JOB.predict(again, str(texts), "cpu", {})] == ["bad", "good"]
    lines = again.read_lines(again.predictions)
    texts.write_text("".join(line["text"] + "\n" for line in lines))
    told = list(JOB.predict(again, str(texts), "cpu", {}))
    assert [record["p(bad)"] for record in told] == pytest.approx([line["p(bad)"] for line in lines], abs=2e-6)
    assert [record["predicted"] for record in Run(run_folder.path).predict(["number 1 is a good thing"])] == ["good"]
    judged = JOB.evaluate(again, str(folder), "cpu")
    assert judged.rows[0].scores["accuracy"] == 1
    assert any("tokens are not in the run's vocabulary" in note for note in judged.notes)
    share = 100 * len(run[1].data.train) / 140
    seen = next(note for note in judged.notes if "were learnt from" in note)
    assert float(seen.split("%")[0]) == pytest.approx(share, abs=1)


def test_a_file_is_what_it_was_in_training(run: Any, tmp_path: Path) -> None:
    """A line of one where each line was a document, the whole where each file was."""
    lines = tmp_path / "new.txt"
    lines.write_text("number 1 is a good thing\nnumber 2 is a bad thing\n")
    assert len(list(JOB.predict(run[0], str(lines), "cpu", {}))) == 2
    assert [r["where"] for r in JOB.predict(run[0], str(tmp_path), "cpu", {})] == ["new.txt, line 1", "new.txt, line 2"]
    for label in ("good", "bad"):
        (tmp_path / "files" / label).mkdir(parents=True)
        for i in range(20):
            (tmp_path / "files" / label / f"{i}.txt").write_text(f"number {i}\nis a {label} thing\n")
    work, _ = finished(replace(SMALL, path=str(tmp_path / "files")), tmp_path / "run")
    (record,) = JOB.predict(RunFolder.open(work.run.path), str(lines), "cpu", {})
    assert record["tokens"] == 12


def test_an_answer_rests_on_the_word_that_tells(run: Any, tmp_path: Path) -> None:
    texts = tmp_path / "in.txt"
    texts.write_text("number 7 is a bad thing\n\n")
    found = JOB.inspect(run[0], Look(str(texts)))
    (why,) = found["saliency"]  # an empty text has nothing to rest on
    assert why["token"] == "bad"
    assert [step.strip() for step in why["context"]] == ["number", "7", "is", "a", "bad", "thing"]
    assert np.argmax(why["scores"]) == 4
    assert found["hidden"]["tokens"] == why["context"]


def test_classes_never_learnt(run: Any, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("text,label\nnumber 1 is a good thing,good\nnumber 2 is a good thing,odd\n")
    judged = JOB.evaluate(run[0], str(table), "cpu")
    assert judged.rows[0].scores["accuracy"] == 0.5
    assert "1 documents are of classes never learnt ('odd'): they count as errors" in judged.notes
    table.write_text("text,label\na thing,odd\nanother thing,even\n")
    with pytest.raises(DataError, match=r"knows none of these classes .*expected 'bad', 'good', got 'odd', 'even'"):
        JOB.evaluate(run[0], str(table), "cpu")


def test_the_same_seed_gives_the_same(folder: Path, tmp_path: Path) -> None:
    results = [finished(replace(SMALL, path=str(folder)), tmp_path / str(i))[1] for i in range(2)]
    assert results[0].to_json() == results[1].to_json()


@pytest.mark.parametrize("pooling", ["mean", "max_mean", "attention", "last"])
def test_every_summary_gives_classes(pooling: str) -> None:
    settings = replace(SMALL, pooling=pooling, layers=2, dropout=0.1, word_dropout=0.1, cell="gru")
    data = JOB.read(settings)
    prepared = JOB.prepare(settings, data)
    model = JOB.build(settings, prepared, data)
    batch = next(JOB.batches(settings, prepared, data.train, True).batches(0, 0, 0))
    assert model(batch.x).shape == (32, 2)
    alone = model.eval()(batch.x.select(torch.tensor([0])))
    assert torch.allclose(alone[0], model(batch.x)[0], atol=1e-5)


def test_rare_classes_weigh_as_much(folder: Path) -> None:
    settings = replace(SMALL, path=str(folder), class_weight="balanced")
    data = JOB.read(settings)
    prepared = JOB.prepare(settings, data)
    batches = list(JOB.batches(settings, prepared, data.train, True).batches(0, 0, 0))
    y = torch.cat([batch.y for batch in batches])
    weights = torch.cat([batch.weight for batch in batches])
    sums = [float(weights[y == i].sum()) for i in (0, 1)]
    assert sums[0] == pytest.approx(sums[1])
    assert float(weights.mean()) == pytest.approx(1)


def test_the_threshold_is_chosen_on_the_validation_part(folder: Path) -> None:
    class Leaning:
        """Says `bad` with 0.2 where it is, else with 0.1: right from 0.15 on."""

        def predict(self, source: Any) -> Any:
            y = [JOB_Y[tuple(row.tolist())] for batch in source.batches(0, 0, 0) for row in batch.x.rows()]
            return np.log([[0.2, 0.8] if one == 0 else [0.1, 0.9] for one in y])

    settings = replace(SMALL, path=str(folder))
    data = JOB.read(settings)
    prepared = JOB.prepare(settings, data)
    everything = [document for part in (data.validation, data.test) for document in part]
    JOB_Y = {tuple(prepared.reading.ids(d.text).tolist()): prepared.labels.index(str(d.label)) for d in everything}
    assert JOB.settle(Leaning(), replace(settings, threshold="0.5"), prepared, data) == prepared
    settled = JOB.settle(Leaning(), settings, prepared, data)
    assert settled.threshold == pytest.approx(0.15)
    assert JOB.judge(Leaning(), settings, settled, data.test).scores["accuracy"] == 1
    again = JOB.load_prepared(json.loads(json.dumps(settled.to_json())))
    assert again.threshold == settled.threshold
    assert again.to_json() == settled.to_json()


def test_given_vectors_begin_the_network(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("3 4\ngood 1 2 3 4\nbad -1 -2 -3 -4\nthing 0 0 1 1\n")
    settings = replace(SMALL, path=str(folder), vectors=str(path), train_vectors=False)
    data = JOB.read(settings)
    prepared = JOB.prepare(settings, data)
    model = JOB.build(settings, prepared, data)
    table = model.get_layer("vectors").get_weights()[0]
    assert table[prepared.reading.ids("good")[0]].tolist() == [1, 2, 3, 4]
    assert not model.get_layer("vectors").embeddings.requires_grad
    assert any("vectors from words.vec: 4 features, for" in note for note in data.notes)
    read_again = JOB.build(settings, JOB.load_prepared(prepared.to_json()), None)
    assert np.array_equal(read_again.get_layer("vectors").get_weights()[0], table)


def test_long_texts_keep_both_ends(folder: Path) -> None:
    settings = replace(SMALL, path=str(folder), longest=4)
    data = JOB.read(settings)
    reading = JOB.prepare(settings, data).reading
    assert reading.tokens("a b c d e f") == ["a", "b", "e", "f"]
    assert any("are cut to 4 tokens" in note for note in data.notes)


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_other_tokens(folder: Path, tokens: str) -> None:
    pytest.importorskip("tokenizers")
    settings = replace(SMALL, path=str(folder), tokens=tokens, vocabulary=300)
    prepared = JOB.prepare(settings, JOB.read(settings))
    reading = JOB.load_prepared(json.loads(json.dumps(prepared.to_json()))).reading
    assert reading.segmenter.join(reading.vocabulary.decode(reading.ids("a Good thing"))) == "a good thing"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"longest": 1}, "longest"),
        ({"dropout": 1.0}, "dropout"),
        ({"min_count": 0}, "min_count"),
        ({"pooling": "median"}, "pooling"),
        ({"tokens": "bpe", "vocabulary": 100}, "256 or more"),
        ({"tokens": "characters", "vectors": "a.vec"}, "vectors are those of words"),
        ({"train_vectors": False}, "train_vectors"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        replace(SMALL, **wrong).check()


def test_the_class_to_be_found(folder: Path) -> None:
    data = JOB.read(replace(SMALL, path=str(folder)))
    assert JOB.prepare(SMALL, data).positive == 0  # bad, the rarer one
    assert JOB.prepare(replace(SMALL, positive="good"), data).positive == 1
    with pytest.raises(ArgumentError, match=r"positive: expected 'bad' or 'good', got 'best'"):
        JOB.prepare(replace(SMALL, positive="best"), data)


def test_one_bad_record_among_many(tmp_path: Path) -> None:
    reviews = made_reviews(200, 0)
    lines = ["text,label", *(f'"{review.text}",{review.label}' for review in reviews)]
    lines[77] += ",more"
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"line 78.*--on-error skip"):
        JOB.read(replace(SMALL, path=str(path)))
    data = JOB.read(replace(SMALL, path=str(path), on_error="skip"))
    assert sum(data.sizes["documents"].values()) == 199
    assert [kind["count"] for kind in data.skipped.values()] == [1]


def test_what_it_takes_for_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("some text")
    assert JOB.guess(tmp_path / "text.txt") is None
    table = tmp_path / "a.csv"
    table.write_text("review,sentiment\nsome good words,1\n")
    assert "by its name" in str(JOB.guess(table))


def test_labels_in_order() -> None:
    assert sort_labels(["10", "9", "1"]) == ["1", "9", "10"]
    assert sort_labels(["b", "10", "a"]) == ["10", "a", "b"]


def test_movie_review_is_read(shared: Any) -> None:
    data = JOB.read(replace(SMALL, path=str(shared("movie_review"))))
    assert sum(data.sizes["documents"].values()) == 10_662
    assert any("a file for each class, a document on each line" in note for note in data.notes)
