"""Tags for letters: from features, tracks and tables to a judged model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from rondeau.data.dna.alphabets import DNA
from rondeau.data.dna.records import Feature, SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore
from rondeau.data.faults import Faults
from rondeau.data.made.genes import GeneMaker, made_genome
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks.api import train
from rondeau.tasks.dna.pieces import Pieces, divide
from rondeau.tasks.dna.settings import TaggingSettings
from rondeau.tasks.dna.tag_baselines import Tagged, all_told
from rondeau.tasks.dna.tagging import DnaTagging, Prepared, stretches_of
from rondeau.tasks.registry import guess_task

TINY: dict[str, Any] = {"units": 4, "filters": 4, "epochs": 1, "window": 50, "insight": False, "device": "cpu"}


def contigs(folder: Path, count: int = 12, gff: bool = False) -> Path:
    """Genes are stretches of G and C."""
    rng = np.random.default_rng(0)
    fasta, lines = [], []
    for i in range(count):
        letters = rng.choice(list("ACGT"), 200)
        begin = int(rng.integers(20, 120))
        letters[begin : begin + 50] = rng.choice(list("GC"), 50)
        fasta.append(f">c{i}\n{''.join(letters)}\n")
        strand = "+-"[i % 2]
        if gff:
            lines.append(f"c{i}\tx\tgene\t{begin + 1}\t{begin + 50}\t.\t{strand}\t.\tID={i}\n")
        else:
            lines.append(f"c{i}\t{begin}\t{begin + 50}\tgene\t0\t{strand}\n")
    (folder / "a.fa").write_text("".join(fasta))
    (folder / ("a.gff" if gff else "a.bed")).write_text("".join(lines))
    return folder / "a.fa"


def read(path: Path, **settings: Any) -> Any:
    return DnaTagging().read(TaggingSettings(path=str(path), window=50, **settings))


@pytest.mark.parametrize("gff", [False, True])
def test_features_beside_a_file_are_its_tags(tmp_path: Path, gff: bool) -> None:
    path = contigs(tmp_path, gff=gff)
    task, why = guess_task(path)
    assert task.name == "dna_tagging"
    assert "has features of the sequences" in why
    data = read(path)
    raw = data.train.source.read_tags(0)
    assert raw.sum() == 50
    gene = data.train.source.text(0)[int(raw.argmax()) : int(raw.argmax()) + 50]
    assert set(gene) == {"C", "G"}
    assert any("12 gene" in note for note in data.notes)
    stranded = read(path, stranded=True).train.source
    assert {int(stranded.read_tags(row).max()) for row in range(12)} == {1, 2}


def test_tags_in_a_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["".join(rng.choice(list("MKVLAE"), 30)) for _ in range(20)]
    text = "sequence,structure\n" + "".join(f"{s},{''.join('H' if c in 'KE' else 'C' for c in s)}\n" for s in rows)
    (tmp_path / "p.csv").write_text(text)
    assert guess_task(tmp_path / "p.csv")[0].name == "dna_tagging"
    run = train(tmp_path / "p.csv", out=tmp_path / "run", verbose=False, **TINY)
    (found,) = run.predict([rows[0]])
    assert len(found["tags"]) == 30
    assert set(found["tags"]) <= {"H", "C"}


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    path = contigs(tmp_path)
    bed = tmp_path / "a.bed"
    lines = bed.read_text()
    bed.write_text(lines + "c1\t150\t300\tgene\n")
    with pytest.raises(DataError, match=r"reaches beyond its sequence.*'c1'.*up to 200"):
        read(path)
    assert read(path, on_error="skip").skipped["a feature reaches beyond its sequence"]["count"] == 1
    bed.write_text(lines + "chr99\t1\t3\tgene\n")
    assert any("1 ids that no sequence has, such as 'chr99'" in note for note in read(path).notes)
    bed.write_text("chr99\t1\t3\tgene\n")
    with pytest.raises(DataError, match="those of no sequence"):
        read(path)
    with pytest.raises(ArgumentError, match=r"none of this kind.*gene.*exon"):
        read(path, features=("exon",))
    bed.unlink()
    with pytest.raises(DataError, match="the letters have no tags"):
        read(path)
    bed.write_text("".join(f"c{i}\t0\t200\tgene\n" for i in range(12)))
    settings = TaggingSettings(path=str(path), window=50)
    with pytest.raises(DataError, match="one tag only"):
        DnaTagging().prepare(settings, DnaTagging().read(settings))
    with pytest.raises(ArgumentError, match="kmer"):
        TaggingSettings(kmer=2).check()


@pytest.mark.parametrize("strands", ["one", "augment", "tied"])
def test_a_run_is_judged_and_answers_with_features(tmp_path: Path, strands: str) -> None:
    path = contigs(tmp_path, 20)
    run = train(path, out=tmp_path / "run", verbose=False, strands=strands, stranded=True, **TINY)
    names = [row.name for row in run.results.rows]
    assert names[0] == "most frequent tag"
    assert names[2].startswith("Markov chain of order")
    assert run.results.metric.name == "mcc"
    (tmp_path / "b.fa").write_text(">x\n" + "ACGT" * 40 + "\n>y\nGGCC\n")
    found = run.predict(tmp_path / "b.fa")
    assert [(one["id"], one["length"]) for one in found] == [("x", 160), ("y", 4)]
    assert all(0 <= f["begin"] < f["end"] <= 160 and f["tag"] in ("gene", "gene-") for f in found[0]["features"])
    assert 0 <= run.evaluate(path)["accuracy"] <= 1


def test_the_other_strand_has_the_other_tags(tmp_path: Path) -> None:
    path = contigs(tmp_path)
    job, settings = DnaTagging(), TaggingSettings(path=str(path), window=200, strands="augment", stranded=True)
    data = job.read(settings)
    prepared = job.prepare(settings, data)
    assert prepared.tags == ["other", "gene", "gene-"]
    assert prepared.swapped == [0, 2, 1]
    buckets = job.batches(settings, prepared, data.train, True)
    count = len(data.train)
    import torch

    batch = buckets.made(torch.tensor([0, count]))
    x, y = (part.rows() for part in (batch.x, batch.y))
    turned = DNA.reverse_complement(x[0].numpy().astype(np.uint8))
    assert x[1].tolist() == turned.tolist()
    assert y[1].tolist() == [prepared.swapped[i] for i in y[0].flip(0).tolist()]
    assert Prepared.from_json(prepared.to_json()) == prepared


def test_stretches_name_their_ends() -> None:
    told = np.array([0, 1, 1, 0, 2])
    assert stretches_of(told, ["other", "exon", "intron"]) == [
        {"tag": "exon", "begin": 1, "end": 3},
        {"tag": "intron", "begin": 4, "end": 5},
    ]


# stretches


def store(lengths: list[int]) -> SequenceStore:
    rng = np.random.default_rng(0)
    records = [
        SequenceRecord(f"r{i}", "".join(rng.choice(list("ACGT"), size)).encode()) for i, size in enumerate(lengths)
    ]
    return SequenceStore(DNA, encoded(records, DNA, Faults()))


def test_few_records_are_held_out_in_stretches_and_many_as_wholes() -> None:
    source = store([6000, 50])
    train_, held, test, notes = divide(source, 0.2, 0.2, 0, 20)
    every = sorted(part.at(i) for part in (train_, held, test) for i in range(len(part)))
    assert sum(end - begin for _, begin, end in every) == 6050
    assert all(a[2] == b[1] for a, b in itertools.pairwise(every) if a[0] == b[0])
    assert "stretches of 100 letters" in notes[0]
    many = divide(store([50] * 20), 0.2, 0.2, 0, 20)
    assert [len(part) for part in many[:3]] == [12, 4, 4]
    with pytest.raises(DataError, match="too few letters"):
        divide(store([30]), 0.1, 0.1, 0, 20)


def test_stretches_are_cut_into_windows_and_read_with_what_is_beside() -> None:
    source = store([23, 5])
    cut = Pieces.whole(source).cut(10)
    assert [cut.at(i) for i in range(len(cut))] == [(0, 0, 10), (0, 10, 20), (0, 20, 23), (1, 0, 5)]
    assert DNA.decode(cut.read(1, 3, 99)) == source.text(0)[7:]
    assert cut.place(1) == "r0:11-20"


def test_baselines_count_what_they_say() -> None:
    rng = np.random.default_rng(0)
    given = []
    for _ in range(20):
        letters = rng.integers(0, 4, 300)
        letters[100:200] = rng.choice([1, 2], 100)
        tags = np.zeros(300, np.int64)
        tags[100:200] = 1
        given.append(Tagged(letters.astype(np.uint8), tags))
    told = list(all_told(lambda: iter(given[:15]), lambda: iter(given[15:18]), given[18:], 4, 2))
    right = [float(np.mean([own == one.tags for own, one in zip(t.tags, given[18:], strict=True)])) for t in told]
    assert right[0] == pytest.approx(2 / 3)
    assert min(right[1:]) > 0.95


def test_old_copies_of_an_element_are_alike_and_none_is_as_it_was() -> None:
    element = "ACGTTGCA" * 15
    copies = [GeneMaker(seed).copy_of(element) for seed in range(20)]
    same = [sum(a == b for a, b in zip(copy, element, strict=True)) / len(element) for copy in copies]
    assert 0.88 < np.mean(same) < 0.92
    assert max(same) < 1
    assert set("".join(copies)) == set("ACGT")
    plain, full = (sum(len(one.letters) for one in made_genome(4, 2, seed=1, elements=n)) for n in (0, 2))
    assert full != plain
    assert made_genome(4, 2, seed=1, elements=2) == made_genome(4, 2, seed=1, elements=2)


def test_a_made_genome_is_the_same_for_a_seed() -> None:
    first = made_genome(4, 2, seed=1)
    assert first == made_genome(4, 2, seed=1)
    assert first != made_genome(4, 2, seed=2)
    for record in first:
        for one in record.features:
            assert isinstance(one, Feature)
            assert 0 <= one.begin < one.end <= len(record.letters)
        introns = [one for one in record.features if one.kind == "intron"]
        ends = {(one.strand, record.letters[one.begin :][:2], record.letters[: one.end][-2:]) for one in introns}
        assert ends <= {("+", b"GT", b"AG"), ("-", b"CT", b"AC")}
