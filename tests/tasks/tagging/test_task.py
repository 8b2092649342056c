"""Tagging from files to figures: the whole job on small data, and what can be wrong with them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rondeau.data.made.language import demo_sentences
from rondeau.data.texts.conll import Sentence
from rondeau.errors import ArgumentError, DataError
from rondeau.heads import CRF
from rondeau.insight import saliency
from rondeau.tasks.registry import guess_task
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.tagging import data as tagging_data
from rondeau.tasks.tagging.baselines import MostFrequent, PerWord
from rondeau.tasks.tagging.scores import findings, scores
from rondeau.tasks.tagging.task import Tagging, TaggingSettings, _log_chances, balanced, tags_of

SMALL = TaggingSettings(units=16, embedding=16, spelling_units=8, epochs=3, learning_rate=0.02, insight=False)
ENTITIES = """Anna B-PER
Maria I-PER
sleeps O

she O
is O
in O
Oslo B-LOC

Oslo B-LOC
waits O
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def made(path: Path, count: int = 200) -> Path:
    """The made-up language as a file of columns."""
    lines: list[str] = []
    group = None
    for one in demo_sentences(count):
        if one.group != group:
            lines += ["-DOCSTART- O", ""]
            group = one.group
        lines += [f"{word} {tag}" for word, tag in zip(one.words, one.tags, strict=True)] + [""]
    return write(path, "\n".join(lines))


def run(settings: TaggingSettings, out: Path):
    task = Tagging()
    work = task.begin(settings, out)
    assert task.fit(work, lambda *_: [])
    return task, work, task.conclude(work, lambda *_: [])


@pytest.mark.parametrize("crf", [False, True])
def test_train_evaluate_and_predict(tmp_path, crf, monkeypatch):
    file = made(tmp_path / "made.conll", 250)
    task, work, results = run(replace(SMALL, path=str(file), crf=crf, epochs=4, batch_size=16), tmp_path / "run")
    *baselines, own = results.rows
    assert own.scores["accuracy"] > baselines[0].scores["accuracy"] + 0.2
    assert baselines[1].scores["accuracy"] > 0.5
    low, high = own.intervals["accuracy"]
    assert low < own.scores["accuracy"] < high
    folder = RunFolder(work.run.path)
    again = task.evaluate(folder, str(file), "cpu").own.scores["accuracy"]
    assert again > own.scores["accuracy"] - 0.05
    told = json.loads(folder.findings.read_text())
    assert sum(map(sum, told["confusion"]["counts"])) == work.data.sizes["words"]["test"]
    predictions = [json.loads(line) for line in folder.predictions.read_text().splitlines()]
    right = np.mean([a == b for one in predictions for a, b in zip(one["tags"], one["predicted"], strict=True)])
    assert right == pytest.approx(own.scores["accuracy"])
    text = write(tmp_path / "new.txt", "ti mola sa ruka.\n\nka mola!\n")
    found = list(task.predict(folder, str(text), "cpu", {}))
    assert [one["words"] for one in found] == [["ti", "mola", "sa", "ruka", "."], ["ka", "mola", "!"]]
    assert all(len(one["tags"]) == len(one["words"]) for one in found)
    if crf:
        return
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
    assert list(task.predict(folder, "-", "cpu", {})) == found
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))  # columns, as in a file
    assert list(task.predict(folder, "-", "cpu", {})) == list(task.predict(folder, str(file), "cpu", {}))


def test_rare_tags_can_count_as_much_as_frequent_ones(tmp_path):
    """A word that is one of two tags by chance, seven times in eight the frequent one."""
    draws = np.random.default_rng(0).random((300, 3)) < 1 / 8
    lines = [
        f"w{i % 7} {'RARE' if rare else 'OFTEN'}" + "\n" * (1 + (i % 3 == 2)) for i, rare in enumerate(draws.ravel())
    ]
    file = write(tmp_path / "chance.conll", "\n".join(lines))
    said = {}
    for weight in ("none", "balanced"):
        settings = replace(
            SMALL, path=str(file), class_weight=weight, epochs=2, batch_size=64, spelling="none", dropout=0.0
        )
        task, work, _ = run(settings, tmp_path / weight)
        tags = [tag for one in tags_of(work.run.load_model(), work.prepared, work.data.train) for tag in one]
        said[weight] = tags.count("RARE") / len(tags)
        (first, *_) = task.batches(settings, work.prepared, work.data.train, True).batches(0, 0, 0)
        assert (first.weight is None) == (weight == "none")
    assert said["none"] < 0.02
    assert said["balanced"] > 0.1
    weights = np.asarray(balanced(work.data.train, work.prepared.tags))
    ids = [work.prepared.tags.index(tag) for one in work.data.train for tag in one.tags]
    assert weights[ids].mean() == pytest.approx(1)
    sums = [weights[i] * ids.count(i) for i in range(2)]
    assert sums[0] == pytest.approx(sums[1])
    assert first.weight.values.tolist() == pytest.approx(weights[first.y.values.numpy()].tolist())
    with pytest.raises(ArgumentError, match="a CRF judges whole sentences"):
        replace(SMALL, crf=True, class_weight="balanced").check()


def test_documents_are_never_divided(tmp_path):
    data = Tagging().read(replace(SMALL, path=str(made(tmp_path / "made.conll"))))
    groups = [{one.group for one in part} for part in (data.train, data.validation, data.test)]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 20


def test_entities_are_scored_by_f1_and_impossible_ones_never_found(tmp_path):
    file = write(tmp_path / "a.conll", "\n".join(ENTITIES.replace("Oslo", f"Oslo{i}") for i in range(30)))
    task, work, results = run(replace(SMALL, path=str(file), crf=True, epochs=8), tmp_path / "run")
    assert results.metric.name == "entity_f1"
    assert results.own.scores["entity_f1"] > results.rows[0].scores["entity_f1"] == 0
    assert work.run.read_json(work.run.results)["metrics"][0]["name"] == "entity_f1"
    text = write(tmp_path / "new.jsonl", '{"words": ["Anna", "Maria", "waits"]}\n{"text": "She is in Oslo."}\n')
    for one in task.predict(work.run, str(text), "cpu", {}):
        assert all(a[2:] == b[2:] for a, b in zip(["O", *one["tags"]], one["tags"], strict=False) if b[:2] == "I-")
        assert [e["text"] for e in one["entities"]] == [
            " ".join(one["words"][e["begin"] : e["end"]]) for e in one["entities"]
        ]


def test_the_given_division_is_kept_and_leakage_named(tmp_path):
    for name in ("x-train.conll", "x-dev.conll", "x-test.conll"):
        write(tmp_path / name, ENTITIES)
    data = Tagging().read(replace(SMALL, path=str(tmp_path)))
    assert data.sizes["sentences"] == {"train": 3, "validation": 3, "test": 3}
    notes = "\n".join(data.notes)
    assert "leakage: 3 of 3 sentences of the test part (100.0%)" in notes
    assert "she is in Oslo" in notes
    assert "BIO" in notes


def test_data_are_recognised(tmp_path):
    task, why = guess_task(made(tmp_path / "made.txt"))
    assert task.name == "tagging"
    assert "blank lines between sentences" in why
    assert Tagging().guess(tmp_path) == why
    assert Tagging().guess(write(tmp_path / "text.md", "Some words.\n\nMore of them.\n")) is None


def test_damage_is_counted_and_tags_never_seen_are_told(tmp_path):
    file = made(tmp_path / "made.conll")
    lines = file.read_text().splitlines()
    write(file, "\n".join([*lines[:5], "one two three four", *lines[5:]]))
    with pytest.raises(DataError, match="another number of columns"):
        Tagging().read(replace(SMALL, path=str(file)))
    data = Tagging().read(replace(SMALL, path=str(file), on_error="skip"))
    assert next(iter(data.skipped.values()))["count"] == 1
    write(tmp_path / "x-train.conll", ENTITIES)
    write(tmp_path / "x-test.conll", "Anna B-PER\nin O\nApril B-DATE\n\n")
    write(tmp_path / "x-dev.conll", "May B-DATE\nwaits O\n\n")
    folder = replace(SMALL, path=str(tmp_path))
    made(tmp_path / "made.conll").unlink()
    task, _, results = run(replace(folder, epochs=1), tmp_path / "run")
    assert "never has: B-DATE" in "\n".join(Tagging().read(folder).notes)
    assert results.own.scores["entity_recall"] < 1
    assert task.evaluate(RunFolder(tmp_path / "run"), str(tmp_path / "x-test.conll"), "cpu").notes[0].endswith("B-DATE")


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"path": "missing"}, DataError, "no such file"),
        ({"column": "upos"}, ArgumentError, "a number for files of columns"),
        ({"column": "4"}, DataError, "no column of tags"),
        ({"group": "speaker"}, ArgumentError, "no such column"),
        ({"word_dropout": 1.0}, ArgumentError, "word_dropout"),
        ({"min_count": 0}, ArgumentError, "min_count"),
        ({"spelling": "cmm"}, ArgumentError, "spelling"),
        ({"validation": 0.6, "test": 0.5}, ArgumentError, "nothing to train on"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(tmp_path, change, error, what):
    file = made(tmp_path / "made.conll", 40)
    with pytest.raises(error, match=what):
        Tagging().begin(replace(SMALL, **{"path": str(file), **change}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_tag_only_is_nothing_to_learn(tmp_path):
    file = write(tmp_path / "a.conll", "\n".join(f"word{i} X\n" for i in range(40)))
    with pytest.raises(DataError, match="one tag only"):
        Tagging().begin(replace(SMALL, path=str(file)), tmp_path / "run")


def test_inputs_that_are_no_sentences(tmp_path):
    assert [one.words for one in tagging_data.inputs(str(write(tmp_path / "a.txt", "Don't go, O'Neil...\n\n\n")))] == [
        ("Don't", "go", ",", "O'Neil", ".", ".", ".")
    ]
    with pytest.raises(DataError, match="holds no sentence") as raised:
        list(tagging_data.inputs(str(write(tmp_path / "b.jsonl", '{"text": "a"}\n{"txt": "a"}\n'))))
    assert "b.jsonl:2" in str(raised.value)
    with pytest.raises(DataError, match="no JSON"):
        list(tagging_data.inputs(str(write(tmp_path / "c.jsonl", '{"text": \n'))))
    (tmp_path / "d.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        list(tagging_data.inputs(str(tmp_path / "d.txt")))


def test_baselines():
    train = [
        Sentence(("the", "run", "ended"), ("D", "N", "V")),
        Sentence(("a", "run"), ("D", "N")),
        Sentence(("run", "jumped"), ("V", "V")),
    ]
    assert MostFrequent(train)(["x", "y"]) == ["V", "V"]  # as often as N and D; the last by none, so the larger count
    tagged = PerWord(train)
    assert tagged(["run", "Run", "kicked"]) == ["N", "N", "V"]


def test_scores_are_those_of_seqeval():
    metrics = pytest.importorskip("seqeval.metrics")
    generator = np.random.default_rng(0)
    labels = ["O", "B-A", "I-A", "B-B", "I-B"]
    true = [[labels[i] for i in generator.integers(0, 5, 7)] for _ in range(40)]
    found = [[tag if generator.random() < 0.7 else "O" for tag in row] for row in true]
    sentences = [Sentence(("w",) * 7, tuple(row), f"{i // 4}") for i, row in enumerate(true)]
    ours, ends = scores(sentences, found, bio=True)
    assert ours["entity_f1"] == pytest.approx(metrics.f1_score(true, found))
    assert ours["entity_precision"] == pytest.approx(metrics.precision_score(true, found))
    assert ours["entity_recall"] == pytest.approx(metrics.recall_score(true, found))
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(true, found))
    assert all(low < ours[name] < high for name, (low, high) in ends.items())
    from rondeau.data.texts.vocabulary import Vocabulary

    told = findings(sentences, found, labels, Vocabulary(["w"]), bio=True)
    assert told["by_group"][1]["rows"] == [["known", 280, ours["accuracy"]]]
    assert json.dumps(told)


@pytest.mark.parametrize("options", [{}, {"crf": True, "spelling": "none"}, {"spelling": "cnn", "layers": 2}])
def test_an_answer_is_explained_by_the_words_around_it(tmp_path, options):
    torch.manual_seed(0)
    task = Tagging()
    settings = replace(SMALL, path=str(made(tmp_path / "made.conll", 40)), **options)
    data = task.read(settings)
    prepared = task.prepare(settings, data)
    model = task.build(settings, prepared, data).eval()
    example = data.test[0]
    explained = task.explain(model, settings, prepared, example)
    word, _, tag = explained.answer.rpartition(": ")
    assert word == example.words[explained.place]
    assert explained.steps == [f"{one} " for one in example.words]
    chance = float(explained.target(explained.model(explained.x)).detach().exp())
    tags = len(prepared.tags)
    assert 1 / tags <= chance <= 1
    if not settings.crf:
        assert tags_of(model, prepared, data.test)[0][explained.place] == tag
    (found,) = saliency(explained.model, explained.x, "gradient_x_input", explained.target)
    assert len(found.scores) == len(example.words)


def test_the_probabilities_told_are_the_marginals():
    scores = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = CRF().double()
    layer.build_for((None, None, 4))
    torch.nn.init.normal_(layer.transitions)
    chain = layer(scores)
    assert torch.allclose(_log_chances(chain).exp(), CRF.probabilities(chain), atol=1e-12)


def test_given_vectors_are_what_the_words_begin_with(tmp_path):
    vectors = write(tmp_path / "some.vec", "2 3\nanna 1 2 3\noslo -1 0.5 2\n")
    file = write(tmp_path / "a.conll", "\n".join(f"{ENTITIES}\nword{i} O\n" for i in range(8)))
    settings = replace(SMALL, path=str(file), vectors=str(vectors))
    task = Tagging()
    data = task.read(settings)
    prepared = task.prepare(settings, data)
    assert any("vectors of some.vec" in note for note in data.notes)
    model = task.build(settings, prepared, data)
    table = model.get_layer("word_embedding").embeddings
    (anna,) = prepared.words.encode(["anna"])
    assert table[anna].tolist() == [1, 2, 3]
    assert "vectors" not in prepared.to_json()
    missing = write(tmp_path / "none.vec", "hello 1 2 3\n")
    with pytest.raises(DataError, match="none of the words"):
        task.prepare(replace(settings, vectors=str(missing)), data)
