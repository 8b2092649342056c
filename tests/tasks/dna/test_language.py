"""Language models of sequences: what is learnt, written, and what variants change."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("Bio")

from rondeau.data.dna.alphabets import DNA, PROTEIN
from rondeau.data.dna.records import SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore
from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError
from rondeau.tasks import get_task
from rondeau.tasks.api import Run, train
from rondeau.tasks.dna.effects import Reference, effects
from rondeau.tasks.dna.language import network
from rondeau.tasks.dna.markov import MarkovChain, chosen
from rondeau.tasks.dna.pieces import Pieces
from rondeau.tasks.dna.settings import LanguageSettings
from rondeau.tasks.dna.windows import First, Tokens, Windows, costs
from rondeau.tasks.registry import guess_task

TINY: dict[str, Any] = {"units": 8, "embedding": 4, "window": 32, "context": 8, "insight": False, "device": "cpu"}


def genome(folder: Path, name: str = "g.fa.gz") -> Path:
    """Two records of ACGT again and again, with some letters changed."""
    rng = np.random.default_rng(0)
    text = ""
    for i, size in enumerate((3000, 1000)):
        letters = np.array(list("ACGT" * (size // 4)))
        at = rng.random(size) < 0.05
        letters[at] = rng.choice(list("ACGT"), int(at.sum()))
        letters[50:60] = "N"
        text += f">chr{i + 1}\n{''.join(letters)}\n"
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("genome")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RONDEAU_CACHE", str(folder / "cache"))
        return train(
            genome(folder), out=folder / "run", verbose=False, epochs=6, batch_size=4, learning_rate=0.02, **TINY
        )


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDEAU_CACHE", str(tmp_path / "cache"))


def store(*texts: str) -> SequenceStore:
    records = [SequenceRecord(f"r{i}", text.encode()) for i, text in enumerate(texts)]
    return SequenceStore(DNA, encoded(records, DNA, Faults()))


def test_it_is_guessed_and_learns_what_comes_next(run: Run) -> None:
    assert run.task == "dna_language_model"
    names = [row.name for row in run.results.rows]
    assert names[:2] == ["every letter alike", "each letter's share"]
    assert names[2].startswith("Markov chain of order")
    figures = [row.scores["bits_per_base"] for row in run.results.rows]
    assert figures[0] == 2
    assert figures[-1] < 1.2 < figures[1]
    assert run.results.own.scores["perplexity"] == pytest.approx(2 ** figures[-1])
    low, high = run.results.own.intervals["bits_per_base"]
    assert low < figures[-1] < high


def test_it_writes(run: Run) -> None:
    text = "".join(get_task(run.task).write(run.folder, "ACGTAC", 12, temperature=0.0))
    assert text == "ACGTACGTACGTACGTAC"
    with pytest.raises(DataError, match=r"not of the alphabet.*'J'"):
        list(get_task(run.task).write(run.folder, "ACJ", 3))
    drawn = ["".join(get_task(run.task).write(run.folder, "\n", 20, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 20


def test_plain_sequences_cost_bits(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">likely\n" + "ACGT" * 30 + "\n>not\n" + "TGCATTGA" * 15 + "\n>none\nNNNN\n")
    likely, unlikely, none = run.predict(tmp_path / "a.fa")
    assert likely["bits_per_base"] < 1 < unlikely["bits_per_base"]
    assert (none["letters"], none["perplexity"]) == (0, None)
    assert run.evaluate(tmp_path / "a.fa")["bits_per_base"] > likely["bits_per_base"]


def test_variants_change_what_is_likely(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ref.fa").write_text(">chr1\n" + "ACGT" * 50 + "\n")
    table = tmp_path / "v.csv"
    table.write_text("id,position,ref,alt\nchr1,101,A,C\nchr1,101,A,A\nchr1,101,ACGT,-\n")
    options = {"reference": tmp_path / "ref.fa"}
    found = run.predict(table, **options)
    assert [one["alt"] for one in found] == ["C", "A", ""]
    assert found[0]["log_likelihood_ratio"] < -1
    assert found[1]["log_likelihood_ratio"] == 0
    assert len(run.predict(table)) == 3  # from the sequences it learnt from
    with_own = tmp_path / "w.csv"
    with_own.write_text(f"sequence,position,ref,alt\n{'ACGT' * 50},101,A,C\n")
    (own,) = run.predict(with_own)
    assert own["log_likelihood_ratio"] == pytest.approx(found[0]["log_likelihood_ratio"], abs=1e-6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1,101,C,T", r"not what stands there.*chr1:101.*expected 'C', got 'A'.*--reference"),
        ("chr7,101,A,T", "id is that of no sequence"),
        ("chr1,900,A,T", "beyond its sequence"),
        ("chr1,101,A,J", "not of the alphabet"),
        ("chr1,0,A,T", "no position"),
    ],
)
def test_variants_that_do_not_fit_are_named(run: Run, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "ref.fa").write_text(">chr1\n" + "ACGT" * 50 + "\n")
    (tmp_path / "v.csv").write_text(f"id,position,ref,alt\n{line}\n")
    with pytest.raises(DataError, match=message):
        run.predict(tmp_path / "v.csv", reference=tmp_path / "ref.fa")


def test_a_ratio_is_that_of_the_whole_sequences() -> None:
    tokens, source = Tokens(DNA), store("ACGTTGCA")
    torch.manual_seed(0)
    model = network(tokens, LanguageSettings(units=4, embedding=4)).eval()
    variant = next(iter([__import__("rondeau.data.dna.variants", fromlist=["Variant"]).Variant("r0", 3, "G", "AT")]))
    (found,) = effects(model, Reference(source, tokens), [variant], 100, False, Faults())
    plain, other = costs(model, tokens, [(DNA.encode(text), 2) for text in ("ACGTTGCA", "ACATTTGCA")])
    expected = (plain.sum() - other.sum()) * np.log(2)
    assert found["log_likelihood_ratio"] == pytest.approx(expected, abs=2e-6)


# windows


@pytest.mark.parametrize("kmer", [1, 2])
@pytest.mark.parametrize("both", [False, True])
def test_every_letter_is_told_once(kmer: int, both: bool) -> None:
    source, tokens = store("ACGTTGCAACG", "GGN", "A"), Tokens(DNA, kmer)
    windows = Windows(Pieces.whole(source), tokens, 3, both)
    assert windows.lengths().tolist() == [len(windows.read(i)[0]) for i in range(len(windows))]
    batch = windows.batch(torch.arange(len(windows)))
    assert len(batch.x.values) == len(batch.y.values) == int(windows.lengths().sum())
    half = windows.count
    text = "".join(tokens.text(windows.read(i)[0]) for i in range(half) if windows.place(i)[0] == 0)
    assert text == "ACGTTGCAACG"[: 11 // kmer * kmer]
    own, before = windows.read(1)
    assert tokens.text([before]) == "ACGTTGCAACG"[2 * kmer : 3 * kmer] if kmer == 2 else "G"
    assert windows.read(0)[1] == tokens.begin
    if both:
        turned, _ = windows.read(half + 1)
        assert tokens.text(turned) == DNA.decode(DNA.reverse_complement(DNA.encode(tokens.text(own))))


def test_ambiguous_letters_are_read_and_not_told() -> None:
    windows = Windows(Pieces.whole(store("ACNT")), Tokens(DNA), 8)
    batch = windows.batch(torch.tensor([0]))
    assert batch.weight.values.tolist() == [1, 1, 0, 1]
    assert batch.x.values.tolist() == [Tokens(DNA).begin, 0, 1, 14]
    assert Tokens(DNA).chances[14].tolist() == [0.25] * 4


def test_an_epoch_may_be_some_of_the_windows_others_each_time() -> None:
    windows = Windows(Pieces.whole(store("ACGT" * 400)), Tokens(DNA), 8)
    source = windows.source(4, True, most=100)
    assert isinstance(source, First)
    assert len(source) == 4
    epochs = [torch.cat([batch.x.values for batch in source.batches(epoch, 0, 0)]) for epoch in (0, 0, 1)]
    assert torch.equal(epochs[0], epochs[1])
    late = list(source.batches(0, 2, 0))
    assert torch.equal(torch.cat([batch.x.values for batch in late]), epochs[0][64:])


# Markov chains


def test_a_chain_is_the_counts_it_was_given() -> None:
    given = [DNA.encode("ACACAN"), DNA.encode("CA")]
    chain = MarkovChain(given, 4, 1)
    after_a = np.array([0, 2, 0, 0]) + 0.5
    bits = chain.bits(DNA.encode("AC"))
    assert bits[1] == pytest.approx(-np.log2(after_a[1] / after_a.sum()))
    letters = np.array([4, 3, 0, 0]) + 0.5
    assert bits[0] == pytest.approx(-np.log2(letters[0] / letters.sum()))
    assert np.isnan(chain.bits(DNA.encode("AN"))[1])
    with pytest.raises(DataError, match="no letter"):
        MarkovChain([DNA.encode("NN")], 4, 1)
    with pytest.raises(ArgumentError, match="order"):
        MarkovChain(given, 4, 20)


def test_the_order_is_that_of_the_process() -> None:
    rng = np.random.default_rng(0)
    codes = [0, 1]
    for _ in range(20_000):
        codes.append(int((codes[-2] + (rng.random() < 0.2)) % 4))
    whole = np.array(codes, np.uint8)
    assert chosen(lambda: [whole[:15_000]], lambda: [whole[15_000:]], 4).order == 2


# what is guessed and refused


def test_what_is_read_and_what_is_refused(tmp_path: Path) -> None:
    assert guess_task(genome(tmp_path))[0].name == "dna_language_model"
    job = get_task("dna_language_model")
    (tmp_path / "bad.fa").write_text(">a\nACGT\n>b\nACXT\n")
    with pytest.raises(DataError, match=r"not of the alphabet.*'b'.*position 3"):
        job.begin(LanguageSettings(path=str(tmp_path / "bad.fa"), alphabet="dna"), tmp_path / "run")
    with pytest.raises(ArgumentError, match="group"):
        job.begin(LanguageSettings(path=str(tmp_path / "bad.fa"), group="x"), tmp_path / "run")
    with pytest.raises(ArgumentError, match="too many k-mers"):
        Tokens(PROTEIN, 4)
    with pytest.raises(ArgumentError, match="strands"):
        LanguageSettings(strands="tied").check()


@pytest.mark.parametrize("letters", ["MKVLAAGE", "ACGU"])
def test_proteins_and_rna(tmp_path: Path, letters: str) -> None:
    rng = np.random.default_rng(0)
    text = "".join(f">p{i}\n{''.join(rng.choice(list(letters), 60))}\n" for i in range(14))
    (tmp_path / "p.faa").write_text(text)
    kmer = 2 if letters == "ACGU" else 1
    run = train(tmp_path / "p.faa", task="dna_language_model", out=tmp_path / "run", verbose=False, epochs=1,
                kmer=kmer, **TINY)  # fmt: skip
    assert run.results.own.scores["bits_per_base"] > 0
    assert set("".join(get_task(run.task).write(run.folder, "", 11, seed=0))) <= set("ACDEFGHIKLMNPQRSTVWYUO*")
