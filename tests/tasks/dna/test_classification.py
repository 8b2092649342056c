"""Classes of sequences: from files to a judged model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from rondeau.data.dna.alphabets import DNA, PROTEIN
from rondeau.data.dna.records import SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore
from rondeau.data.faults import Faults
from rondeau.data.made.genes import made_splice_sites
from rondeau.errors import ArgumentError, DataError
from rondeau.sequence import Ragged
from rondeau.tasks.api import Run, train
from rondeau.tasks.dna import baselines
from rondeau.tasks.dna.classification import DnaClassification, Prepared
from rondeau.tasks.dna.examples import Sequences
from rondeau.tasks.dna.network import sequence_network
from rondeau.tasks.dna.reading import Reading, kmers
from rondeau.tasks.dna.scores import matthews
from rondeau.tasks.dna.settings import ClassificationSettings
from rondeau.tasks.registry import guess_task

TINY: dict[str, Any] = {"units": 4, "filters": 4, "kernel": 3, "epochs": 2, "insight": False, "device": "cpu"}


def drawn(count: int, seed: int = 0, longer: bool = False) -> list[tuple[str, str]]:
    """Sequences with their class: whether they begin with AT or with CG."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        rest = "".join(rng.choice(list("ACGT"), 18 + (i % 5 if longer else 0)))
        made.append((("AT" if i % 2 else "CG") + rest, "at" if i % 2 else "cg"))
    return made


def table(folder: Path, rows: list[tuple[str, str]], name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text("id,sequence,label\n" + "".join(f"s{i},{s},{c}\n" for i, (s, c) in enumerate(rows)))
    return path


def fasta(rows: list[tuple[str, str]], heading: str = ">s{i} {label}") -> str:
    return "".join(f"{heading.format(i=i, label=c)}\n{s}\n" for i, (s, c) in enumerate(rows))


def read(path: Path, **settings: Any) -> Any:
    return DnaClassification().read(ClassificationSettings(path=str(path), **settings))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("dna")
    return train(table(folder, drawn(80)), out=folder / "run", verbose=False, **TINY)


# where classes stand


@pytest.mark.parametrize("heading", [">s{i} {label}", ">s{i} label={label}", ">s{i}|class={label}|x"])
def test_classes_in_headings(tmp_path: Path, heading: str) -> None:
    path = tmp_path / "a.fa"
    path.write_text(fasta(drawn(40), heading))
    task, why = guess_task(path)
    assert task.name == "dna_classification"
    assert "heading" in why
    data = read(path)
    assert data.sizes["sequences"] == {"train": 32, "validation": 4, "test": 4}


def test_a_file_for_each_class_and_a_division_of_their_own(tmp_path: Path) -> None:
    rows = drawn(40)
    for label in ("at", "cg"):
        own = [row for row in rows if row[1] == label]
        (tmp_path / f"{label}.fasta").write_text(fasta(own, ">s{i}"))
    assert "a file for each class" in guess_task(tmp_path)[1]
    assert set(read(tmp_path).train.labels()) == {"at", "cg"}
    other = tmp_path / "divided"
    other.mkdir()
    table(other, drawn(40), "train.csv")
    table(other, drawn(10, seed=1), "test.csv")
    data = read(other)
    assert data.sizes["sequences"] == {"train": 36, "validation": 4, "test": 10}


def test_a_table_is_guessed_and_texts_are_not(tmp_path: Path) -> None:
    assert guess_task(table(tmp_path, drawn(20)))[0].name == "dna_classification"
    (tmp_path / "b.csv").write_text("text,label\n" + "the acting was good,pos\nthe story was dull,neg\n" * 10)
    assert guess_task(tmp_path / "b.csv")[0].name == "text_classification"


# what is wrong


def test_one_class_no_class_and_a_class_for_each(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one class only.*20 sequences of 'at'"):
        read(table(tmp_path, [(s, "at") for s, _ in drawn(20)]))
    with pytest.raises(DataError, match="a class of its own"):
        read(table(tmp_path, [(s, f"c{i}") for i, (s, _) in enumerate(drawn(80))]))
    (tmp_path / "a.fa").write_text(fasta(drawn(20), ">s{i}"))
    with pytest.raises(DataError, match=r"no classes.*label="):
        read(tmp_path / "a.fa")
    (tmp_path / "b.csv").write_text("sequence,size\n" + "ACGTACGTAA,3\n" * 5)
    with pytest.raises(DataError, match="which column holds the classes"):
        read(tmp_path / "b.csv")


def test_bad_records_end_the_reading_or_are_counted(tmp_path: Path) -> None:
    rows = [*drawn(30), ("ACJT", "at"), ("", "cg"), ("ACGTACGTACGTACGTACGT", "")]
    path = table(tmp_path, rows)
    with pytest.raises(DataError, match=r"not of the alphabet.*line 32 \('s30'\), position 3.*'J'"):
        read(path)
    data = read(path, on_error="skip")
    assert {what: kind["count"] for what, kind in data.skipped.items()} == {
        "a letter is not of the alphabet": 1, "a record has no sequence": 1, "a record has no class": 1,
    }  # fmt: skip
    (tmp_path / "twice.fa").write_text(fasta(drawn(20)) + ">s3 at\nATTTTTT\n")
    with pytest.raises(DataError, match=r"an id comes twice.*'s3'"):
        read(tmp_path / "twice.fa")


def test_equal_sequences_are_on_one_side(tmp_path: Path) -> None:
    data = read(table(tmp_path, drawn(40) * 2), validation=0.2, test=0.2)
    assert any("40 sequences repeat others (such as 's0' and 's40')" in note for note in data.notes)
    keys = [set(part.store.keys[part.rows].tolist()) for part in (data.train, data.validation, data.test)]
    assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]


def test_what_leaks_into_a_given_test_part_is_named_and_left_out(tmp_path: Path) -> None:
    table(tmp_path, drawn(40), "train.csv")
    table(tmp_path, [*drawn(8, seed=1), *drawn(3)], "test.csv")
    data = read(tmp_path)
    told = [note for note in data.notes if "left out of the train part" in note]
    assert "3 sequences of the train part stand in the test part" in told[0]
    assert "'s0', equal to 's8'" in told[0]
    assert data.sizes["sequences"]["train"] + data.sizes["sequences"]["validation"] == 37


def test_the_other_strand_of_a_test_sequence_is_no_new_one(tmp_path: Path) -> None:
    rows = drawn(20)
    turned = [(DNA.decode(DNA.reverse_complement(DNA.encode(s))), c) for s, c in rows]
    path = table(tmp_path, rows + turned)
    assert not any("repeat" in note for note in read(path).notes)
    assert any("20 sequences repeat others" in note for note in read(path, strands="augment").notes)


def test_groups_are_never_divided(tmp_path: Path) -> None:
    rows = drawn(60)
    path = tmp_path / "g.csv"
    path.write_text("sequence,label,gene\n" + "".join(f"{s},{c},g{i // 6}\n" for i, (s, c) in enumerate(rows)))
    data = read(path, group="gene", validation=0.2, test=0.2)
    parts = [set(part.groups()) for part in (data.train, data.validation, data.test)]
    assert len(parts[0] | parts[1] | parts[2]) == 10 == sum(map(len, parts))


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for wrong, message in (({"kmer": 9}, "kmer"), ({"filters": -1}, "filters"), ({"pool": 0}, "pool")):
        with pytest.raises(ArgumentError, match=message):
            ClassificationSettings(**wrong).check()
    path = tmp_path / "p.csv"
    path.write_text("sequence,label\n" + "MKVLAAGGWE,a\nWERTYPLKMN,b\n" * 10)
    with pytest.raises(ArgumentError, match="no other strand"):
        read(path, strands="tied")
    settings = ClassificationSettings(path=str(table(tmp_path, drawn(30, longer=True))), pooling="places")
    with pytest.raises(ArgumentError, match="sequences of one length"):
        DnaClassification().prepare(settings, DnaClassification().read(settings))


# what networks read


def test_kmers_and_their_other_strand() -> None:
    codes = DNA.encode("ACGTN")
    assert kmers(codes, 4, 2).tolist() == [1, 6, 11, 16]
    assert kmers(codes, 4, 2, 2).tolist() == [1, 11]
    reading = Reading(DNA, 2)
    assert reading.words([1, 6, 16]) == ["AC", "CG", "?"]
    turned = reading.ids(DNA.reverse_complement(codes))
    assert [reading.complement[i] for i in reading.ids(codes)[::-1]] == turned.tolist()
    assert reading.ids(DNA.encode("A")).tolist() == [16]
    with pytest.raises(ArgumentError, match="too many k-mers"):
        Reading(PROTEIN, 4)


def test_qualities_are_chances_to_be_right() -> None:
    quality = np.array([10, 20, 0], np.uint8)
    np.testing.assert_allclose(Reading(DNA, 1, True).right(quality)[:, 0], [0.9, 0.99, 0.25], rtol=1e-6)
    np.testing.assert_allclose(Reading(DNA, 2, True).right(quality)[:, 0], [0.891, 0.2475], rtol=1e-6)


@pytest.mark.parametrize("kmer", [1, 2])
@pytest.mark.parametrize("pooling", ["max_mean", "places", "last", None])
def test_tied_strands_answer_the_same_to_both(kmer: int, pooling: str | None) -> None:
    reading = Reading(DNA, kmer)
    length = 10 if pooling == "places" else None
    model = sequence_network(reading, 3, units=4, filters=4, pool=1, pooling=pooling, length=length, tied=True).eval()
    codes = np.random.default_rng(0).integers(0, len(DNA.symbols), 10 + kmer - 1).astype(np.uint8)
    x, other = (torch.from_numpy(reading.ids(own))[None] for own in (codes, DNA.reverse_complement(codes)))
    y, turned = model(x), model(other)
    torch.testing.assert_close(y, turned if pooling else turned.flip(1), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(y, model(x.flip(1)), rtol=1e-5, atol=1e-5)


def test_an_ambiguous_letter_is_read_as_all_of_its_letters() -> None:
    model = sequence_network(Reading(DNA), 2, units=4, filters=4, kernel=1)
    table_ = model.get_layer("letters")
    given = Ragged.from_rows([DNA.encode("RN").astype(np.int64)])
    assert table_(given).values.tolist() == [[0.5, 0, 0.5, 0], [0.25] * 4]


# judged, saved, used


def test_a_run_judges_itself_beside_baselines(run: Run) -> None:
    names = [row.name for row in run.results.rows]
    assert names[0] == "majority"
    assert names[2].startswith("weight matrix")
    assert run.results.rows[2].scores["accuracy"] == 1.0  # the first two letters tell
    assert run.results.own.scores.keys() == {"accuracy", "mcc", "macro_f1", "auroc"}
    assert run.results.own.intervals.keys() == {"accuracy", "mcc", "macro_f1", "auroc"}


def test_new_sequences_are_answered_from_any_format(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(fasta(drawn(4, seed=3), ">s{i}"))
    found = run.predict(tmp_path / "a.fa")
    assert [one["id"] for one in found] == ["s0", "s1", "s2", "s3"]
    assert found[0]["p(at)"] + found[0]["p(cg)"] == pytest.approx(1, abs=2e-6)
    by_table = run.predict(table(tmp_path, drawn(4, seed=3), "b.csv"))
    assert [one["p(at)"] for one in by_table] == [one["p(at)"] for one in found]
    assert run.predict([drawn(4, seed=3)[0][0]])[0]["p(at)"] == found[0]["p(at)"]
    assert 0 <= run.evaluate(table(tmp_path, drawn(10, seed=4), "c.csv"))["accuracy"] <= 1
    (tmp_path / "long.fa").write_text(">x\nACGT\n")
    with pytest.raises(DataError, match=r"another length.*'x'.*20 letters"):
        run.predict(tmp_path / "long.fa")
    with pytest.raises(DataError, match="knows none of these classes"):
        run.evaluate(table(tmp_path, [(s, c.upper()) for s, c in drawn(10)], "d.csv"))


def test_qualities_are_read_where_there_are_some(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("at", "cg"):
        own = [s for s, c in drawn(40, longer=True) if c == label]
        lines = [f"@{label}{i}\n{s}\n+\n{''.join(rng.choice(list('#5I'), len(s)))}\n" for i, s in enumerate(own)]
        (tmp_path / f"{label}.fq").write_text("".join(lines))
    found = train(tmp_path, task="dna_classification", out=tmp_path / "run", verbose=False, strands="tied", **TINY)
    assert "quality" in [layer.name for layer in found.model.layers]
    assert len(found.predict(tmp_path / "at.fq")) == 20
    (tmp_path / "a.fa").write_text(">a\nACGTACGTACGTACGTACGTAA\n")
    with pytest.raises(DataError, match="these sequences have none"):
        found.predict(tmp_path / "a.fa")


def test_prepared_goes_through_json() -> None:
    prepared = Prepared(Reading(DNA, 3), ["a", "b"], "places", 20)
    assert Prepared.from_json(prepared.to_json()) == prepared


# baselines and figures


def known(rows: list[tuple[str, str]]) -> baselines.Known:
    records = [SequenceRecord(f"s{i}", s.encode(), label=c) for i, (s, c) in enumerate(rows)]
    store = SequenceStore(DNA, encoded(records, DNA, Faults()))
    y = np.array([int(c == rows[0][1]) for _, c in rows])
    part = Sequences(store)
    return baselines.Known(part, y, part, y, part, 2)


def test_a_weight_matrix_counts_letters_at_places() -> None:
    given = known([("AC", "a"), ("AC", "a"), ("GN", "b")])
    found = baselines.weight_matrix(given)
    assert found is not None
    # class a (1): A 3/6, C 3/6 of its letters, one added to each; class b (0): C 5/4 of 5, A 1/5
    a, b = 2 / 3 * 3 / 6 * 3 / 6, 1 / 3 * 1 / 5 * 1.25 / 5
    assert found.chances[0, 1] == pytest.approx(a / (a + b))
    assert baselines.weight_matrix(known([("AC", "a"), ("G", "b")])) is None


def test_a_markov_chain_tells_what_follows_what() -> None:
    rows = [("ACACACACAC", "a"), ("CCCCCAAAAA", "b")] * 5
    found = baselines.markov_chains(known(rows))
    assert "order 1" in found.name
    assert (found.chances.argmax(1) == known(rows).y).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_matthews_is_the_correlation_of_indicators(classes: int) -> None:
    from sklearn.metrics import matthews_corrcoef

    rng = np.random.default_rng(0)
    true, said = rng.integers(0, classes, (2, 50))
    counts = np.zeros((classes, classes))
    np.add.at(counts, (true, said), 1)
    assert matthews(counts) == pytest.approx(matthews_corrcoef(true, said), rel=1e-12)
    assert matthews(np.array([[5, 0], [5, 0]])) == 0


def test_made_sites_are_the_same_for_a_seed_and_balanced() -> None:
    first, again = made_splice_sites(60, seed=3), made_splice_sites(60, seed=3)
    assert first == again
    assert first != made_splice_sites(60, seed=4)
    assert {len(one.letters) for one in first} == {90}
    labels = [one.label for one in first]
    assert {label: labels.count(label) for label in labels} == {"donor": 20, "acceptor": 20, "neither": 20}
    with pytest.raises(ArgumentError, match="30 or more"):
        made_splice_sites(3)
