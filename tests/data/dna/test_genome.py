"""Genomes on disk: what was written is read again, in any window."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rondeau.data.dna import genome as module
from rondeau.data.dna.alphabets import DNA, RNA
from rondeau.data.dna.genome import Genome, index_genome
from rondeau.data.faults import Faults
from rondeau.errors import CheckpointError, DataError

LETTERS = np.frombuffer(b"ACGTNRn", np.uint8)


def drawn(lengths: list[int], seed: int = 0) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    shares = [0.2, 0.2, 0.2, 0.2, 0.1, 0.05, 0.05]
    made = {f"r{i}": bytes(LETTERS[rng.choice(7, size, p=shares)]) for i, size in enumerate(lengths)}
    made["gap"] = b"ACG" + b"N" * 500 + b"T"
    return made


def fasta(records: dict[str, bytes], width: int = 60, end: bytes = b"\n") -> bytes:
    return b"".join(
        b">%s told\n" % name.encode() + end.join(s[i : i + width] for i in range(0, len(s), width)) + end
        for name, s in records.items()
    )


@pytest.mark.parametrize("block", [7, 64, 1 << 22])
def test_every_window_is_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    records = drawn([1, 2, 3, 4, 5, 203])
    (tmp_path / "a.fa").write_bytes(fasta(records, 9, b"\r\n"))
    genome = index_genome([tmp_path / "a.fa"], folder=tmp_path / "g")
    assert genome.names == list(records)
    assert genome.lengths.tolist() == [len(s) for s in records.values()]
    rng = np.random.default_rng(1)
    for row, letters in enumerate(records.values()):
        assert DNA.decode(genome.read(row)) == letters.decode().upper()
        for _ in range(20):
            begin, end = sorted(rng.integers(0, len(letters) + 1, 2).tolist())
            assert DNA.decode(genome.read(row, begin, end)) == letters[begin:end].decode().upper()
    assert len(genome.read(5, 200, 900)) == 3


def test_a_packed_file_is_two_bits_a_base(tmp_path: Path) -> None:
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(fasta({"a": b"ACGT" * 1000})))
    index_genome([tmp_path / "a.fa.gz"], folder=tmp_path / "g")
    assert (tmp_path / "g" / "bases.bin").stat().st_size == 1000
    assert (tmp_path / "g" / "runs.bin").stat().st_size == 0


def test_it_is_read_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDEAU_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.fa"
    file.write_bytes(b">a\nACGT\n>b\nAXGT\n")
    faults = Faults("skip")
    first = index_genome([file], faults=faults)
    monkeypatch.setattr(module, "_read", None)  # it would fail
    again = Faults("skip")
    second = index_genome([file], faults=again)
    assert (second.folder, again.to_json()) == (first.folder, faults.to_json())


def test_bad_records_are_named_or_left_out(tmp_path: Path) -> None:
    file = tmp_path / "a.fa"
    file.write_bytes(b">a\nACGTA\n>b\nACNN\nG-T\n>c\n>a\nCC\n>d\nTTTNT")
    with pytest.raises(DataError, match=r"not of the alphabet.*line 3 \('b'\), position 6.*Take gaps out"):
        index_genome([file], folder=tmp_path / "g")
    assert not (tmp_path / "g").exists()
    faults = Faults("skip")
    genome = index_genome([file], faults=faults, folder=tmp_path / "g")
    assert [(genome.id(i), DNA.decode(genome.read(i))) for i in range(len(genome))] == [("a", "ACGTA"), ("d", "TTTNT")]
    assert {what: kind["count"] for what, kind in faults.to_json().items()} == {
        "a letter is not of the alphabet": 1, "a record has no sequence": 1, "an id comes twice": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("raw", "message"), [(b"ACGT\n", "no heading"), (b"", "no sequences"), (b">a\n\n", "no sequ")])
def test_what_is_no_genome_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a.fa").write_bytes(raw)
    with pytest.raises(DataError, match=message):
        index_genome([tmp_path / "a.fa"], folder=tmp_path / "g")


def test_a_folder_that_is_none_and_a_file_cut_short(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no genome"):
        Genome(tmp_path)
    whole = gzip.compress(fasta(drawn([5000])))
    (tmp_path / "a.fa.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="to its end"):
        index_genome([tmp_path / "a.fa.gz"], folder=tmp_path / "g")


def test_rna_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">a\nACGU\n")
    genome = index_genome([tmp_path / "a.fa"], RNA, folder=tmp_path / "g")
    assert RNA.decode(genome.read(0)) == "ACGU"
