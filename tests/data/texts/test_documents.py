"""Labelled texts from folders, files and tables, whole and broken."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from rondeau.data.faults import Faults
from rondeau.data.texts.documents import Document, read_labelled, read_texts
from rondeau.data.texts.layouts import looks_labelled
from rondeau.errors import ArgumentError, DataError

WORDS = "a text of some words"


def rows_of(path: Path, **options: Any) -> list[tuple[str, str | None]]:
    return [(document.text, document.label) for document in read_labelled(path, **options).documents]


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode() if isinstance(text, str) else text
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return root


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    files = {"pos/1.txt": "good\r\nfilm", "pos/2.txt.gz": "fine", "neg/1.txt": "bad", "README.md": "x", ".git/a": "x"}
    write(tmp_path, files)
    assert rows_of(tmp_path) == [("bad", "neg"), ("good\nfilm", "pos"), ("fine", "pos")]


def test_a_file_for_each_class_a_document_a_line(tmp_path: Path) -> None:
    write(tmp_path, {"rt.pos": "good\nl\x85ine\u2028\n", "rt.neg": "bad\r\nworse", "README.txt": "about"})
    assert rows_of(tmp_path) == [("bad", "neg"), ("worse", "neg"), ("good", "pos"), ("l\x85ine\u2028", "pos")]
    write(tmp_path / "other", {"ham.txt.gz": "hello\n", "spam.txt": "win\n"})
    assert rows_of(tmp_path / "other") == [("hello", "ham"), ("win", "spam")]


def test_parts_that_are_given(tmp_path: Path) -> None:
    write(tmp_path, {"train/pos.txt": "a\n", "train/neg.txt": "b\n", "test/pos.txt": "c\n", "test/neg.txt": "d\n"})
    parts = {d.text: d.part for d in read_labelled(tmp_path).documents}
    assert parts == {"a": "train", "b": "train", "c": "test", "d": "test"}
    tables = write(tmp_path / "t", {"train.csv": "text,label\na b,1\n", "dev.csv": "text,label\nc d,0\n"})
    assert [(d.text, d.part) for d in read_labelled(tables).documents] == [("c d", "validation"), ("a b", "train")]


CSV = 'id,review,sentiment\n1,"good, with\na line break",pos\n2,bad,neg\n'


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "b.jsonl", "b.jsonl.gz", "c.parquet", "semicolon.csv"])
def test_tables(tmp_path: Path, name: str) -> None:
    rows = [{"id": 1, "review": "good, with\na line break", "sentiment": "pos"}]
    rows += [{"id": 2, "review": "bad", "sentiment": "neg"}]
    if "parquet" in name:
        table = pytest.importorskip("pyarrow").Table.from_pylist(rows)
        file = io.BytesIO()
        pytest.importorskip("pyarrow.parquet").write_table(table, file)
        data: str | bytes = file.getvalue()
    elif "jsonl" in name:
        data = "".join(json.dumps(row) + "\n" for row in rows)
    elif name == "a.tsv":
        data = CSV.replace(",", "\t").replace("good\t", "good,")
    else:
        data = "\ufeff" + (CSV.replace(",", ";").replace("good;", "good,") if name == "semicolon.csv" else CSV)
    write(tmp_path, {name: data})
    found = read_labelled(tmp_path / name)
    assert "texts in column 'review' (by its name), classes in column 'sentiment' (by its name)" in found.reason
    assert [(d.text, d.label) for d in found.documents] == [("good, with\na line break", "pos"), ("bad", "neg")]


def test_columns_guessed_by_what_they_hold(tmp_path: Path) -> None:
    lines = "".join(f"{i},{WORDS} {i},{'xyz'[i % 3]}\n" for i in range(30))
    path = write(tmp_path, {"a.csv": "number,words,sort\n" + lines}) / "a.csv"
    found = read_labelled(path)
    assert found.columns is not None
    assert found.columns[:2] == ("words", "sort")
    assert "6 words on average" in found.reason
    assert "few different values, 3" in found.reason
    more = "".join(f"{line},{i % 2}\n" for i, line in enumerate(lines.splitlines()))
    unlike = write(tmp_path, {"b.csv": "number,words,sort,shape\n" + more})
    with pytest.raises(
        DataError, match=r"classes is not plain .*'number', 'words', 'sort', 'shape'\. Name it: --label-c"
    ):
        read_labelled(unlike / "b.csv")
    number = write(
        tmp_path, {"n.csv": "document,sentence,kind\n" + "".join(f"d{i},{WORDS},{i % 2}\n" for i in range(20))}
    )
    columns = read_labelled(number / "n.csv", group="document").columns
    assert columns is not None
    assert columns[:2] == ("sentence", "kind")  # a document is no text where it is a word
    short = write(tmp_path, {"c.csv": "name,label\nanna,1\n"}) / "c.csv"
    with pytest.raises(DataError, match=r"texts is not plain .*--text-column"):
        read_labelled(short)
    with pytest.raises(DataError, match=r"the table has no rows .*c.csv"):
        read_labelled(write(tmp_path, {"c.csv": "text,label\n"}) / "c.csv")


def test_authors_are_no_classes(tmp_path: Path) -> None:
    rows = [f"u{i % 25},so ist es hier {i},{'543'[i % 3]}" for i in range(150)]
    path = write(tmp_path, {"o.csv": "\n".join(["autor,opinión,estrellas", *rows]) + "\n"}) / "o.csv"
    columns = read_labelled(path).columns
    assert columns is not None
    assert columns[:2] == ("opinión", "estrellas")


def test_columns_that_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.csv": "text,label,other,author\nx y,1,p q,ann\nz,0,r,bob\n"}) / "a.csv"
    chosen = read_labelled(path, text_column="other", label_column="text", group="author")
    assert list(chosen.documents) == [
        Document("p q", "x y", "ann", None, f"{path}, line 2"),
        Document("r", "z", "bob", None, f"{path}, line 3"),
    ]
    for options in ({"text_column": "txt"}, {"label_column": "txt"}, {"group": "txt"}):
        with pytest.raises(
            ArgumentError, match=r"no such column .*expected 'text', 'label', 'other', 'author', got 'txt'"
        ):
            read_labelled(path, **options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="text_column: the table has no such column"):
        read_labelled(path, text_column="txt")
    with pytest.raises(ArgumentError, match="the answer would stand in the question"):
        read_labelled(path, text_column="label", label_column="label")
    with pytest.raises(ArgumentError, match="the column of the texts or of the classes"):
        read_labelled(path, label_column="label", group="label")
    folder = write(tmp_path / "f", {"pos": "a\n", "neg": "b\n"})
    with pytest.raises(ArgumentError, match="label_column: these are no tables"):
        read_labelled(folder, label_column="label")


def test_labels_of_other_types(tmp_path: Path) -> None:
    values = ["1", "1.0", "true", '" a "']
    path = write(tmp_path, {"a.jsonl": "".join(f'{{"text": "x", "label": {v}}}\n' for v in values)}) / "a.jsonl"
    assert [label for _, label in rows_of(path)] == ["1", "1", "True", "a"]


BAD: dict[str, tuple[dict[str, str | bytes], str]] = {
    "wrong encoding": (
        {"d/a.pos": b"ok\ncaf\xe9\n", "d/a.neg": "x\n"},
        r"a text is not utf-8 \(at .*a\.pos, line 2\).*byte 0xe9 at offset 6 of the file.*--encoding latin-1",
    ),
    "wrong encoding of a file": (
        {"d/p/1.txt": b"ok\ncaf\xe9\n", "d/p/2.txt": "y", "d/n/1.txt": "x"},
        r"at offset 6 of the file, line 2.*--encoding latin-1",
    ),
    "ragged": (
        {"d/a.csv": "text,label\na b,1\nc,d,2\ne f,0\n"},
        r"another number of cells than the table has columns \(at .*line 3\): expected 2, got 3",
    ),
    "no JSON": ({"d/a.jsonl": '{"text": "a b c", "label": 1}\n{"text"\n'}, r"a line is no JSON \(at .*line 2\)"),
    "JSON of another kind": ({"d/a.jsonl": '{"text": "a b c", "label": 1}\n[1]\n'}, r"no JSON object .*got list"),
    "text of another kind": (
        {"d/a.jsonl": '{"text": "a", "label": 1}\n{"text": ["b"], "label": 1}\n'},
        r"the text of a record is none \(at .*line 2\): expected a string, got list",
    ),
    "an empty document": ({"d/a.pos": "a\n \nb\n", "d/a.neg": "c\n"}, r"an empty document \(at .*a\.pos, line 2\)"),
    "an empty text": ({"d/a.csv": "text,label\na b,1\n,0\n"}, r"an empty document \(at .*line 3\)"),
    "no class": (
        {"d/a.csv": "text,label\na b,1\nc d,\n"},
        r"no class \(at .*line 3\): expected a value in column 'label'",
    ),
    "binary": ({"d/a.pos": b"\x00\x01\n", "d/a.neg": "c\n"}, r"NUL bytes \(at .*a\.pos, line 1\)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_records_fail_or_are_left_out(tmp_path: Path, kind: str) -> None:
    files, message = BAD[kind]
    write(tmp_path, files)
    with pytest.raises(DataError, match=message + r"[\s\S]*--on-error skip"):
        rows_of(tmp_path / "d")
    faults = Faults("skip")
    left = rows_of(tmp_path / "d", faults=faults)
    assert faults.total == 1
    whole = {"ragged": 2, "an empty document": 3, "wrong encoding": 2, "wrong encoding of a file": 2}
    assert len(left) == whole.get(kind, 1)


IMPOSSIBLE: dict[str, tuple[dict[str, str | bytes], str]] = {
    "nothing": ({}, "no such file or folder"),
    "an empty folder": ({"d/.hidden": ""}, "an empty folder"),
    "a text alone": ({"d": "some text"}, "a text file alone does not say the classes"),
    "one file": ({"d/pos.txt": "a\nb\n"}, "there is one class only: one file"),
    "folders of folders": ({"d/a/b/1.txt": "x"}, "folders of the classes hold folders themselves"),
    "an empty table": ({"d/a.csv": ""}, "the file is empty"),
    "no JSON records": ({"d/a.jsonl": "\n"}, "the table has no columns"),
    "a column twice": ({"d/a.csv": "text,label,text\na,b,c\n"}, r"two columns have one name .*got 'text'"),
    "no Parquet": ({"d/a.parquet": "text"}, "the file is no Parquet"),
    "a broken archive": ({"d/a.pos": "x\n", "d/b.neg.gz": b""}, "cannot be read to its end"),
    "UTF-16": ({"d/a.pos": "x\n".encode("utf-16"), "d/a.neg": "y\n"}, "byte order mark of utf-16.*--encoding utf-16"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_cannot_be_read_at_all(tmp_path: Path, kind: str) -> None:
    files, message = IMPOSSIBLE[kind]
    write(tmp_path, files)
    if kind == "a broken archive":
        (tmp_path / "d" / "b.neg.gz").write_bytes(gzip.compress(b"some words\n" * 100)[:30])
    if kind == "no Parquet":
        pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path / "d")


def test_other_encodings(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        write(tmp_path, {"a.pos": "caf\xe9\n".encode(encoding), "a.neg": "b\xe0\nc\n".encode(encoding)})
        assert rows_of(tmp_path, encoding=encoding) == [("b\xe0", "neg"), ("c", "neg"), ("caf\xe9", "pos")]
    with pytest.raises(ArgumentError, match=r"expected a name such as utf-8.*got utf-9"):
        rows_of(tmp_path, encoding="utf-9")
    with pytest.raises(DataError, match="the text is not utf-16"):
        rows_of(write(tmp_path, {"a.pos": b"odd"}), encoding="utf-16")


def test_texts_without_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"f/b/1.txt": "one\ntwo", "f/a.txt": "three", "lines.txt": "one\n\ntwo", "t.csv": "n,text\n1,x\n"})
    assert [(d.text, d.where) for d in read_texts(str(tmp_path / "f"))] == [("three", "a.txt"), ("one\ntwo", "b/1.txt")]
    assert [d.text for d in read_texts(str(tmp_path / "lines.txt"))] == ["one", "", "two"]
    assert [d.text for d in read_texts(str(tmp_path / "t.csv"), text_column="text")] == ["x"]
    assert [d.text for d in read_texts(str(tmp_path / "t.csv"), text_column="words")] == ["x"]
    write(tmp_path, {"u.csv": "n,review\n1,x\n"})
    assert [d.text for d in read_texts(str(tmp_path / "u.csv"))] == ["x"]
    with pytest.raises(ArgumentError, match=r"no such column .*expected 'n', 'review', got 'words'"):
        list(read_texts(str(tmp_path / "u.csv"), text_column="words"))
    with pytest.raises(DataError, match="no such file"):
        list(read_texts(str(tmp_path / "none")))
    (whole,) = read_texts(str(tmp_path / "lines.txt"), whole=True)
    assert (whole.text, whole.where) == ("one\n\ntwo", "lines.txt")
    places = [d.where for d in read_texts(str(tmp_path / "f"), whole=False)]
    assert places == ["a.txt, line 1", "b/1.txt, line 1", "b/1.txt, line 2"]
    write(tmp_path, {"tables/1.csv": "n,text\n1,x\n", "tables/2.jsonl": '{"text": "y"}\n'})
    assert [d.text for d in read_texts(str(tmp_path / "tables"))] == ["x", "y"]


@pytest.mark.parametrize(
    ("given", "column", "texts"),
    [
        (b"a\nb\n", None, ["a", "b"]),
        (b"", None, []),
        (b"{a brace is no record\nb\n", None, ["{a brace is no record", "b"]),
        (b'{"n": 1, "text": "x y"}\n{"n": 2, "text": "z"}\n', None, ["x y", "z"]),
        (b'{"body": "x", "text": "y"}\n', "body", ["x"]),
        (b'n;review\n1;"x\ny"\n2;z\n', "review", ["x\ny", "z"]),
        (b"review\nx\ny\n", "review", ["x", "y"]),
        (b"one, two\nthree\n", "review", ["one, two", "three"]),
    ],
)
def test_standard_input(monkeypatch: pytest.MonkeyPatch, given: bytes, column: str | None, texts: list[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert [d.text for d in read_texts("-", text_column=column)] == texts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"a\n\xe9t\xe9\n", r"not utf-8 \(at standard input, line 2\): expected utf-8, got byte 0xe9 at offset 2"),
        (
            b'{"text": "x"}\n{"text": \n',
            r"a line is no JSON \(at standard input.jsonl, line 2\)",
        ),
    ],
)
def test_standard_input_names_its_bad_line(monkeypatch: pytest.MonkeyPatch, given: bytes, message: str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(DataError, match=message):
        list(read_texts("-"))


def test_what_looks_labelled(tmp_path: Path) -> None:
    assert "rt.neg, rt.pos: a file for each class" in str(
        looks_labelled(write(tmp_path / "a", {"rt.pos": "", "rt.neg": ""}))
    )
    assert looks_labelled(write(tmp_path / "b", {"train.de": "", "train.en": ""})) is None  # a translation
    assert looks_labelled(write(tmp_path / "c", {"one.txt": "", "two.txt": ""})) is None  # a text in two files
    assert looks_labelled(write(tmp_path / "chapters", {"1.txt": "", "2.txt": ""})) is None
    assert looks_labelled(write(tmp_path / "classes", {"0.txt": "", "1.txt": ""}))
    folders = {f"{name}/{i}.txt": "" for name in ("sport", "news") for i in range(2)}
    assert "a folder for each class" in str(looks_labelled(write(tmp_path / "d", folders)))
    assert "column 'tweet'" in str(looks_labelled(write(tmp_path / "e", {"a.csv": "tweet,class\na b c,1\n"}) / "a.csv"))
    assert looks_labelled(write(tmp_path / "g", {"a.csv": "month,passengers\n1949-01,112\n"}) / "a.csv") is None
    few = write(tmp_path / "h", {"a.csv": "time,title,label\n1,shop,0\n2,bank,1\n"})
    assert looks_labelled(few / "a.csv") is None  # names, not texts
    assert looks_labelled(tmp_path / "none") is None
