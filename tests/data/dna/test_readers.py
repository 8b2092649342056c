"""Sequences in their formats: what is read of them, and what is said of those that cannot be."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondeau.data.dna.alphabets import DNA, PROTEIN, RNA, detect
from rondeau.data.dna.fasta import head_of_fasta, named_label, read_fasta, second_word
from rondeau.data.dna.fastq import read_fastq
from rondeau.data.dna.files import from_standard_input, kind_of, read_records, sequence_files
from rondeau.data.dna.genbank import read_genbank
from rondeau.data.dna.records import Feature, SequenceRecord, encoded
from rondeau.data.dna.tables import find_sequences, read_table
from rondeau.data.dna.tracks import read_track, track_beside
from rondeau.data.dna.variants import looks_like_variants, read_variants
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import read_head
from rondeau.errors import ArgumentError, DataError

FASTQ = "@r1 first\nACGT\n+\nIIII\n@r2\nAC\n+r2\n!~\n"


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


# alphabets


@pytest.mark.parametrize("alphabet", [DNA, RNA, PROTEIN])
def test_an_ambiguous_letter_is_each_of_its_letters_in_part(alphabet: Any) -> None:
    np.testing.assert_allclose(alphabet.chances.sum(1), 1, rtol=2 * np.finfo(np.float32).eps)
    np.testing.assert_array_equal(alphabet.chances[: alphabet.size], np.eye(alphabet.size))
    for symbol, meant in alphabet.ambiguous.items():
        row = alphabet.chances[alphabet.symbols.index(symbol)]
        assert {alphabet.letters[i] for i in np.flatnonzero(row)} == set(meant)


@pytest.mark.parametrize(("alphabet", "text", "other"), [(DNA, "AACGRN", "NYCGTT"), (RNA, "AUGB", "VCAU")])
def test_the_other_strand(alphabet: Any, text: str, other: str) -> None:
    turned = alphabet.reverse_complement(alphabet.encode(text))
    assert alphabet.decode(turned) == other
    assert alphabet.decode(alphabet.reverse_complement(turned)) == text


def test_a_protein_has_no_other_strand() -> None:
    with pytest.raises(ArgumentError, match="no other strand"):
        PROTEIN.reverse_complement(PROTEIN.encode("MK"))


@pytest.mark.parametrize(
    ("texts", "name"),
    [(["ACGTN", "acgt"], "dna"), (["ACGU"], "rna"), (["MKVLAAGG", "WERTY"], "protein"), (["ACGTRACGTACGTACGT"], "dna")],
)
def test_the_alphabet_is_told_by_the_letters(texts: list[str], name: str) -> None:
    found, why = detect(texts)
    assert found.name == name
    assert "%" in why
    with pytest.raises(DataError, match="no letter"):
        detect(["--", ""])


# FASTA


def test_fasta_of_any_shape_is_read(tmp_path: Path) -> None:
    text = ">a first one\nACGT\nac gt\n\n; a comment\n>b\r\nNN\r\n>c\tlabel=x"
    records = list(read_fasta(written(tmp_path, "a.fa.gz", text), Faults()))
    assert [(r.id, r.letters) for r in records] == [("a", b"ACGTacgt"), ("b", b"NN"), ("c", b"")]
    assert records[0].description == "first one"
    assert named_label(records[2]) == "x"
    assert second_word(records[1]) is None
    heads = head_of_fasta(written(tmp_path, "b.fa", text), 2)
    assert [(r.id, r.letters[:4]) for r in heads] == [("a", b"ACGT"), ("b", b"NN")]


def test_what_is_wrong_in_fasta_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no heading.*line 1"):
        list(read_fasta(written(tmp_path, "a.fa", "ACGT\n>a\nAC\n"), Faults()))
    file = written(tmp_path, "b.fa", ">a\nACGT\n>b\nACJT\n>a\nCC\n>c\n>d\nAC-T\n>\nAC\n")
    with pytest.raises(DataError, match=r"not of the alphabet.*line 3 \('b'\), position 3"):
        list(encoded(read_fasta(file, Faults()), DNA, Faults()))
    faults = Faults("skip")
    kept = list(encoded(read_fasta(file, faults), DNA, faults))
    assert [record.id for record, _ in kept] == ["a"]
    assert faults.to_json().keys() == {
        "a letter is not of the alphabet", "an id comes twice", "a record has no sequence", "a heading has no id",
    }  # fmt: skip
    with pytest.raises(DataError, match="Take gaps out"):
        list(encoded([SequenceRecord("g", b"A-C")], DNA, Faults()))


def test_a_file_cut_short_is_said_to_be(tmp_path: Path) -> None:
    whole = gzip.compress(b">a\n" + "".join(np.random.default_rng(0).choice(list("ACGT"), 5000)).encode())
    (tmp_path / "a.fa.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read to its end"):
        list(read_fasta(tmp_path / "a.fa.gz", Faults()))


# FASTQ


def test_fastq_with_its_qualities(tmp_path: Path) -> None:
    records = list(read_fastq(written(tmp_path, "a.fq", FASTQ), Faults()))
    assert [(r.id, r.letters) for r in records] == [("r1", b"ACGT"), ("r2", b"AC")]
    assert records[0].quality is not None
    assert records[1].quality is not None
    assert records[0].quality.tolist() == [40] * 4
    assert records[1].quality.tolist() == [0, 93]


@pytest.mark.parametrize(
    ("text", "message", "kept"),
    [
        ("@r1\nACGT\n+\nIII\n@r2\nAC\n+\nII\n", r"another number of qualities.*line 1", ["r2"]),
        ("@r1\nACGT\n+\nIIII\n@r2\nAC\n", r"cut short.*line 5", ["r1"]),
        ("@r1\nACGT\nIIII\n@r2\nAC\n+\nII\n", r"no \+", ["r2"]),
        ("r1\nACGT\n+\nIIII\n@r2\nAC\n+\nII\n", r"does not begin with @", ["r2"]),
        ("@r1\nACGT\n+\nII\x01I\n@r2\nAC\n+\nII\n", r"a quality is none.*position 3", ["r2"]),
    ],
)
def test_what_is_wrong_in_fastq_is_named(tmp_path: Path, text: str, message: str, kept: list[str]) -> None:
    path = written(tmp_path, "a.fastq", text)
    with pytest.raises(DataError, match=message):
        list(read_fastq(path, Faults()))
    faults = Faults("skip")
    assert [record.id for record in read_fastq(path, faults)] == kept
    assert faults.total == 1


# GenBank and tracks


def genbank(length: int = 60, end: int = 30) -> str:
    letters = ("acgt" * length)[:length]
    lines = [f"LOCUS       TOY1 {length:>20} bp    DNA     linear   SYN 01-JAN-2000", "ACCESSION   TOY1"]
    lines += ["VERSION     TOY1.1", "FEATURES             Location/Qualifiers", f"     gene            4..{end}"]
    lines += [f"     CDS             complement(join(4..9,20..{end}))", "ORIGIN"]
    lines += [f"{i + 1:>9} {letters[i : i + 10]}" for i in range(0, length, 10)]
    return "\n".join([*lines, "//", ""])


def test_genbank_with_features(tmp_path: Path) -> None:
    pytest.importorskip("Bio")
    (record,) = read_genbank(written(tmp_path, "a.gb", genbank()), Faults())
    assert (record.id, len(record.letters)) == ("TOY1.1", 60)
    assert record.features[0] == Feature("gene", 3, 30, "+")
    assert sorted(record.features[1:]) == [Feature("CDS", 3, 9, "-"), Feature("CDS", 19, 30, "-")]
    with pytest.raises(DataError, match="no GenBank record"):
        list(read_genbank(written(tmp_path, "b.gb", "hello\n"), Faults()))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_genbank(written(tmp_path, "c.gb", genbank()[:300]), Faults()))


def test_tracks_count_as_their_formats_do(tmp_path: Path) -> None:
    bed = read_track(written(tmp_path, "a.bed", "track x\nchr1\t3\t9\texon\t0\t-\nchr1\t1\t2\n"), Faults())
    assert bed == {"chr1": [Feature("exon", 3, 9, "-"), Feature("feature", 1, 2)]}
    line = "chr1\tme\texon\t4\t9\t.\t+\t.\tID=1\n"
    assert read_track(written(tmp_path, "a.gff3.gz", f"##gff\n{line}##FASTA\n>x\nA\n"), Faults()) == {
        "chr1": [Feature("exon", 3, 9, "+")]
    }
    assert track_beside(tmp_path / "a.fa") == tmp_path / "a.bed"
    faults = Faults("skip")
    assert read_track(written(tmp_path, "b.bed", "chr1\t9\t3\nchr1 1 2\n"), faults) == {}
    assert faults.total == 2
    with pytest.raises(DataError, match=r"too few fields.*line 1"):
        read_track(written(tmp_path, "c.gff", "chr1\tme\texon\n"), Faults())


# tables


def test_columns_are_recognised(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "id,dna,class\ns1,ACGTACGT,x\ns2,TTTTACGN,y\n")
    found = find_sequences(read_head(path), path)
    assert (found.sequence, found.label, found.tags, found.id) == ("dna", "class", None, "id")
    records = list(read_table(path, Faults()))
    assert [(r.id, r.letters, r.label) for r in records] == [("s1", b"ACGTACGT", "x"), ("s2", b"TTTTACGN", "y")]
    tagged = written(tmp_path, "b.csv", "sequence,structure\nMKV,HHC\nMK,HHH\n")
    with pytest.raises(DataError, match=r"another number of tags.*line 3"):
        list(read_table(tagged, Faults(), tags="structure"))
    with pytest.raises(ArgumentError, match="label_column: the table has no such column"):
        find_sequences(read_head(path), path, label="colour")
    odd = written(tmp_path, "c.csv", "a,b\nhello you,1\n")
    with pytest.raises(DataError, match="which column holds the sequences"):
        find_sequences(read_head(odd), odd)


def test_files_are_known_by_name_or_by_their_first_letters(tmp_path: Path) -> None:
    assert kind_of(written(tmp_path, "a.txt", ">a\nACGT\n")) == "fasta"
    assert kind_of(written(tmp_path, "b.txt", FASTQ)) == "fastq"
    assert kind_of(written(tmp_path, "c.txt", "> quoted text, not letters\nas in a mail\n")) is None
    assert [file.name for file in sequence_files(tmp_path)] == ["a.txt", "b.txt"]
    with pytest.raises(DataError, match="no such file"):
        sequence_files(tmp_path / "none.fa")
    given = from_standard_input(b"ACGT\nGGGG\n")
    assert [r.letters for r in read_records(given, Faults())] == [b"ACGT", b"GGGG"]
    given.unlink()


# variants


def test_variants_of_a_table_and_of_vcf(tmp_path: Path) -> None:
    table = written(tmp_path, "v.csv", "id,position,ref,alt\nchr1,5,A,G\nchr1,7,AC,-\n")
    assert looks_like_variants(table)
    assert [v[:4] for v in read_variants(table, Faults())] == [("chr1", 5, "A", "G"), ("chr1", 7, "AC", "")]
    vcf = written(tmp_path, "v.vcf", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\nchr1\t5\t.\tA\tG,T\n")
    assert [v.alt for v in read_variants(vcf, Faults())] == ["G", "T"]
    faults = Faults("skip")
    bad = written(tmp_path, "w.vcf", "chr1\t5\nchr1\tx\t.\tA\tG\nchr1\t5\t.\tA\t<DEL>\n")
    assert list(read_variants(bad, faults)) == []
    assert faults.total == 3
    assert not looks_like_variants(written(tmp_path, "x.csv", "a,b\n1,2\n"))
