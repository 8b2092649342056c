"""Reading CoNLL-U and columns: what is a word, what is a document, and every kind of damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rondeau.data.faults import Faults
from rondeau.data.texts.conll import Sentence, kind_of, part_of, read_columns, read_conllu, tagged_files
from rondeau.errors import ArgumentError, DataError


def row(number: str, word: str, upos: str = "X", xpos: str = "Y") -> str:
    return "\t".join([number, word, "_", upos, xpos, "_", "0", "root", "_", "_"])


CONLLU = "\n".join(
    [
        "# newdoc id = first",
        "# text = vámonos al mar",
        row("1-2", "vámonos", "_"),
        row("1", "vamos", "VERB", "V"),
        row("2", "nos", "PRON", "P"),
        row("3-4", "al", "_"),
        row("3", "a", "ADP"),
        row("4", "el", "DET"),
        row("4.1", "hidden", "VERB"),
        row("5", "mar", "NOUN"),
        "",
        row("1", "Sí", "INTJ"),
        "",
        "# newdoc",
        row("1", "_", "SYM"),
        "",
    ]
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_conllu_words_are_the_syntactic_ones_and_documents_groups(tmp_path):
    file = write(tmp_path / "a.conllu", CONLLU)
    first, second, third = read_conllu(file)
    assert first.words == ("vamos", "nos", "a", "el", "mar")
    assert first.tags == ("VERB", "PRON", "ADP", "DET", "NOUN")
    assert first.group == second.group == "first"
    assert third == Sentence(("_",), ("SYM",), f"{file}:14", f"{file}:14")
    assert next(read_conllu(file, "xpos")).tags[:2] == ("V", "P")
    assert next(read_conllu(file, "")).tags == ()
    with pytest.raises(ArgumentError, match="upos"):
        next(read_conllu(file, "pos"))


def test_packed_with_a_byte_order_mark_and_windows_lines(tmp_path):
    plain = list(read_conllu(write(tmp_path / "a.conllu", CONLLU)))
    packed = tmp_path / "b.conllu.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + CONLLU.replace("\n", "\r\n").encode()))
    assert [one.words for one in read_conllu(packed)] == [one.words for one in plain]
    assert kind_of(packed) == "conllu"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1\tword\t_", "without 10 columns"),
        (row("2", "word"), "not numbered 1, 2, 3"),
        (row("1", " "), "a word is empty"),
        (row("1", "word", "_"), "without a tag in column upos"),
        (b"1\tw\xe9".decode("latin-1"), "no UTF-8"),
    ],
)
def test_damage_is_named_with_file_and_line_or_skipped_and_counted(tmp_path, line, what):
    file = tmp_path / "a.conllu"
    good = row("1", "good")
    encoding = "latin-1" if "\xe9" in line else "utf-8"
    file.write_bytes(f"{good}\n\n# a comment\n{line}\n\n{good}\n".encode(encoding))
    with pytest.raises(DataError, match=what) as raised:
        list(read_conllu(file))
    assert f"{file}:4" in str(raised.value)
    faults = Faults("skip")
    assert [one.words for one in read_conllu(file, faults=faults)] == [("good",), ("good",)]
    assert faults.total == 1


COLUMNS = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O

# NN I-NP O

-DOCSTART- -X- O O

Peter NNP I-NP I-PER
"""


def test_columns_documents_and_a_word_that_looks_like_a_comment(tmp_path):
    file = write(tmp_path / "eng.train", COLUMNS)
    first, second, third = read_columns(file)
    assert first == Sentence(("EU", "rejects"), ("I-ORG", "O"), f"{file}:1", f"{file}:3")
    assert second.words == ("#",)
    assert third.group == f"{file}:8"
    assert next(read_columns(file, 1)).tags == ("NNP", "VBZ")
    assert next(read_columns(file, None)).tags == ()


def test_tabs_keep_words_with_blanks_and_comments_are_left_out(tmp_path):
    file = write(tmp_path / "a.tsv", "# id: 7\nNew York\tB-LOC\n\n# id: 8\nhere\tO\n")
    assert [one.words for one in read_columns(file)] == [("New York",), ("here",)]


def test_damaged_columns(tmp_path):
    file = write(tmp_path / "a.conll", "a X\nb Y\n\nc\n\nd X\n")
    with pytest.raises(DataError, match="another number of columns") as raised:
        list(read_columns(file))
    assert f"{file}:4" in str(raised.value)
    faults = Faults("skip")
    assert [one.words for one in read_columns(file, faults=faults)] == [("a", "b"), ("d",)]
    assert "1 a line with another number of columns" in faults.describe()
    with pytest.raises(DataError, match="no column of tags"):
        list(read_columns(write(tmp_path / "one.conll", "a\nb\n")))
    with pytest.raises(DataError, match="no column of tags"):
        list(read_columns(file, 5))


def test_kinds_are_told_apart(tmp_path):
    assert kind_of(write(tmp_path / "a.txt", CONLLU)) == "conllu"
    assert kind_of(write(tmp_path / "b.txt", 3 * COLUMNS)) == "columns"
    assert (
        kind_of(write(tmp_path / "c.txt", "A text of some words.\n\nAnd another\n\nof two or three lines.\n")) is None
    )
    assert kind_of(write(tmp_path / "d.tsv", "guten Tag\tgood day\nja\tyes\n")) is None
    assert kind_of(write(tmp_path / "e.csv", "")) is None
    (tmp_path / "f.gz").write_bytes(b"no gzip")
    assert kind_of(tmp_path / "f.gz") is None


def test_a_folder_named_for_its_parts_is_divided_and_another_one_heap(tmp_path):
    for name in ("x-train.conllu", "x-dev.conllu", "x-test.conllu"):
        write(tmp_path / name, CONLLU)
    write(tmp_path / "README.txt", "Read me now.\nPlease.\n")
    assert {part: len(files) for part, files in tagged_files(tmp_path).items()} == {
        "train": 1,
        "validation": 1,
        "test": 1,
    }
    (tmp_path / "x-test.conllu").unlink()
    assert {part: len(files) for part, files in tagged_files(tmp_path).items()} == {None: 2}
    assert list(tagged_files(tmp_path / "x-dev.conllu")) == [None]
    assert part_of("constrained.txt") is None
    with pytest.raises(DataError, match="no tagged sentences"):
        tagged_files(tmp_path / "README.txt")
    with pytest.raises(DataError, match="no such file"):
        tagged_files(tmp_path / "missing")


def test_english_web_treebank(shared):
    """As `../shared/data/README.md` counts it."""
    folder = shared("ud_english_ewt")
    read = {
        part: [one for file, _ in files for one in read_conllu(file)] for part, files in tagged_files(folder).items()
    }
    assert {part: len(sentences) for part, sentences in read.items()} == {
        "train": 12_544,
        "validation": 2_001,
        "test": 2_077,
    }
    assert len({tag for one in read["train"] for tag in one.tags}) == 17
    assert len({one.group for one in read["train"]}) == 540
