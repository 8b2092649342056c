"""Pairs of texts: every layout they come in, the direction, and what is wrong with bad ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rondeau.data.faults import Faults
from rondeau.data.texts.pair_layouts import looks_like_pairs
from rondeau.data.texts.pairs import Pair, leaked, read_pairs, read_sources
from rondeau.errors import ArgumentError, DataError

GERMAN = ["Ein Hund läuft.", "Zwei Frauen lachen.", "Das ist gut."]
ENGLISH = ["A dog is running.", "Two women laugh.", "That is good."]


def put(path: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    data = "".join(f"{line}\n" for line in lines).encode(encoding)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def both(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in pairs]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("val", 2), ("test_2016_flickr", 1)):
        put(tmp_path / f"{part}.de.gz", GERMAN[:count])
        put(tmp_path / f"{part}.en.gz", ENGLISH[:count])
    return tmp_path


def test_a_folder_of_parallel_files_is_its_own_split(folder: Path) -> None:
    found = read_pairs(folder)
    assert {part: len(pairs) for part, pairs in found.parts.items()} == {"train": 3, "validation": 2, "test": 1}
    assert both(found.parts["train"]) == list(zip(GERMAN, ENGLISH, strict=True))
    assert (found.source, found.target) == ("de", "en")
    assert found.notes == ["de is read and en written: into English, as nothing else was said"]
    assert found.parts["train"][1].where == "train.de.gz and train.en.gz, line 2"


@pytest.mark.parametrize("given", [{"source": "en"}, {"target": "de"}, {"source": "en", "target": "de"}])
def test_the_direction_is_as_it_is_told(folder: Path, given: dict[str, str]) -> None:
    found = read_pairs(folder, **given)
    assert both(found.parts["test"]) == [(ENGLISH[0], GERMAN[0])]
    assert found.notes == []


def test_more_languages_than_two_are_asked_for(folder: Path) -> None:
    put(folder / "train.fr.gz", ["Un chien court.", "Deux femmes rient.", "C'est bon."])
    with pytest.raises(ArgumentError, match="which two sides"):
        read_pairs(folder)
    found = read_pairs(folder, "fr", "en")
    assert both(found.parts["train"])[0] == ("Un chien court.", ENGLISH[0])
    assert set(found.parts) == {"train"}  # the others lack French
    with pytest.raises(ArgumentError, match=r"no such side.*expected .*, got it"):
        read_pairs(folder, "it", "en")


def test_a_second_test_set_is_named_and_not_read(folder: Path) -> None:
    for side in ("de", "en"):
        put(folder / f"test_2017.{side}", ["x"])
    assert "test_2017.de and test_2017.en were not read" in read_pairs(folder).notes


def test_a_file_finds_the_one_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "corpus.de", GERMAN)
    put(tmp_path / "corpus.en", ENGLISH)
    assert both(read_pairs(tmp_path / "corpus.en").parts["train"])[0] == (GERMAN[0], ENGLISH[0])
    put(tmp_path / "numbers.words", ["one", "two"])
    put(tmp_path / "numbers.digits", ["1", "2"])
    found = read_pairs(tmp_path / "numbers.words", target="digits")
    assert both(found.parts["train"]) == [("one", "1"), ("two", "2")]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.txt", "pairs.txt.gz"])
def test_lines_with_tabs(tmp_path: Path, name: str) -> None:
    lines = [f"{one}\t{other}\tCC-BY 2.0" for one, other in zip(GERMAN, ENGLISH, strict=True)]
    lines.insert(1, "")
    file = put(tmp_path / name, lines)
    found = read_pairs(file)
    assert both(found.parts["train"]) == list(zip(GERMAN, ENGLISH, strict=True))
    assert found.notes == ["the first of each line's columns is read, the second is written"]


def test_a_header_names_the_sides_of_a_tsv(tmp_path: Path) -> None:
    file = put(tmp_path / "pairs.tsv", ["de\ten", *(f"{a}\t{b}" for a, b in zip(GERMAN, ENGLISH, strict=True))])
    assert both(read_pairs(file).parts["train"])[0] == (GERMAN[0], ENGLISH[0])
    assert both(read_pairs(file, source="en").parts["train"])[0] == (ENGLISH[0], GERMAN[0])
    text = put(tmp_path / "pairs.txt", ["de\ten", f"{GERMAN[0]}\t{ENGLISH[0]}"])
    assert both(read_pairs(text, source="en").parts["train"]) == [(ENGLISH[0], GERMAN[0])]
    with pytest.raises(DataError, match="no such column"):
        read_pairs(text, source="fr")


def test_tables_with_two_columns_of_text(tmp_path: Path) -> None:
    rows = [{"id": i, "en": b, "de": a} for i, (a, b) in enumerate(zip(GERMAN, ENGLISH, strict=True))]
    lines = put(tmp_path / "a.jsonl", [json.dumps(row) for row in rows])
    nested = put(tmp_path / "b.jsonl", [json.dumps({"id": str(row["id"]), "translation": row}) for row in rows])
    table = put(tmp_path / "c.csv", ["id,en,de", *(f'{row["id"]},"{row["en"]}","{row["de"]}"' for row in rows)])
    for file in (lines, nested, table):
        found = read_pairs(file, source="de", target="en")
        assert both(found.parts["train"]) == list(zip(GERMAN, ENGLISH, strict=True))
        guessed = read_pairs(file)
        assert (guessed.source, guessed.target) == ("en", "de")
        assert "in the order in which they come" in guessed.notes[0]
    with pytest.raises(DataError, match=r"no such column.*expected fr"):
        read_pairs(table, source="fr", target="en")


def test_which_columns_is_asked_where_it_is_not_clear(tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", ["one,two,three", "ein Hund,a dog,un chien"])
    with pytest.raises(DataError, match=r"which two columns are the pairs.*--source-language"):
        read_pairs(file)
    assert both(read_pairs(file, "three", "two").parts["train"]) == [("un chien", "a dog")]


def test_different_numbers_of_lines_are_named(folder: Path) -> None:
    put(folder / "train.en.gz", ENGLISH[:2])
    with pytest.raises(DataError, match=r"different numbers of lines.*expected equally many, got 3 and 2"):
        read_pairs(folder)
    faults = Faults("skip")
    assert len(read_pairs(folder, faults=faults).parts["train"]) == 2
    assert faults.total == 1


def test_bad_lines_fail_or_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    good = f"{GERMAN[0]}\t{ENGLISH[0]}\n".encode()
    file.write_bytes(good + b"no tab here\n" + b"\tonly one side\n" + b"caf\xe9\tcoffee\n" + good)
    with pytest.raises(DataError, match=r"a line without a tab .*line 2.*expected source, a tab, target"):
        read_pairs(file)
    faults = Faults("skip")
    assert both(read_pairs(file, faults=faults).parts["train"]) == [(GERMAN[0], ENGLISH[0])] * 2
    assert faults.total == 3
    kinds = faults.to_json()
    assert {kind["count"] for kind in kinds.values()} == {1}
    assert any(place.endswith("line 3") for place in kinds["a pair with an empty side"]["places"])


def test_a_line_that_cannot_be_read_takes_its_partner_with_it(tmp_path: Path) -> None:
    put(tmp_path / "a.en", ENGLISH)
    (tmp_path / "a.de").write_bytes(f"{GERMAN[0]}\n".encode() + b"Stra\xdfe\n" + f"{GERMAN[2]}\n".encode())
    with pytest.raises(DataError, match="line 2"):
        read_pairs(tmp_path / "a.de")
    found = read_pairs(tmp_path / "a.de", faults=Faults("skip"))
    assert both(found.parts["train"]) == [(GERMAN[0], ENGLISH[0]), (GERMAN[2], ENGLISH[2])]


def test_another_encoding(tmp_path: Path) -> None:
    file = put(tmp_path / "a.tsv", [f"{GERMAN[0]}\t{ENGLISH[0]}"], "latin-1")
    with pytest.raises(DataError, match="--encoding latin-1"):
        read_pairs(file)
    assert both(read_pairs(file, encoding="latin-1").parts["train"]) == [(GERMAN[0], ENGLISH[0])]


def test_what_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / "missing")
    empty = put(tmp_path / "empty.tsv", [])
    with pytest.raises(DataError, match="empty"):
        read_pairs(empty)
    put(tmp_path / "sub" / "a.txt", ["text"])
    with pytest.raises(DataError, match="a folder without pairs"):
        read_pairs(tmp_path / "sub")
    with pytest.raises(ArgumentError, match="the same side"):
        read_pairs(tmp_path / "sub", "de", "de")
    cut = put(tmp_path / "cut.txt.gz", ["a b\tc d"] * 100)
    cut.write_bytes(cut.read_bytes()[:-12])
    with pytest.raises(DataError, match="cannot be read to its end"):
        read_pairs(cut)


def test_leaks_between_parts_are_found(folder: Path) -> None:
    found = leaked(read_pairs(folder).parts)
    assert {part: both(pairs) for part, pairs in found.items()} == {
        "validation": list(zip(GERMAN, ENGLISH, strict=True))[:2],
        "test": [(GERMAN[0], ENGLISH[0])],
    }


def test_what_looks_like_pairs_and_what_does_not(folder: Path, tmp_path: Path) -> None:
    assert looks_like_pairs(folder) == "train.de.gz and train.en.gz stand beside each other"
    tabs = put(tmp_path / "x" / "a.txt", [f"{a}\t{b}" for a, b in zip(GERMAN, ENGLISH, strict=True)])
    assert looks_like_pairs(tabs) == "lines of two sentences with a tab between"
    table = put(tmp_path / "x" / "a.csv", ["source,target", "one,1"])
    assert looks_like_pairs(table) == "columns source and target"
    for name, lines in {
        "tagged.txt": ["The\tDET", "dog\tNOUN", "", "A\tDET"],
        "classes.txt": ["a good film\tvery good", "a bad film\tvery bad"] * 3,
        "words.txt": ["good\tyes", "bad\tno"],
        "plain.txt": GERMAN,
        "labelled.csv": ["text,label", "good film,yes", "bad film,no"],
        "series.csv": ["a,b", "1,2"],
    }.items():
        assert looks_like_pairs(put(tmp_path / "y" / name, lines)) is None, name
    assert looks_like_pairs(tmp_path / "y") is None


def test_sources_alone(tmp_path: Path) -> None:
    put(tmp_path / "a.de", GERMAN[:2])
    put(tmp_path / "a.en", ENGLISH)
    assert list(read_sources(tmp_path / "a.de")) == GERMAN[:2]
    assert list(read_sources(tmp_path, "de")) == GERMAN[:2]
    table = put(tmp_path / "b.csv", ["de,n", f"{GERMAN[0]},1"])
    assert list(read_sources(table, "de")) == GERMAN[:1]
    with pytest.raises(DataError, match=r"no such column.*expected fr"):
        list(read_sources(table, "fr"))
    tabs = put(tmp_path / "c.tsv", [f"{GERMAN[0]}\t{ENGLISH[0]}"])
    assert list(read_sources(tabs, "de")) == GERMAN[:1]


def test_a_table_s_column_groups_its_pairs(tmp_path: Path) -> None:
    table = put(tmp_path / "a.csv", ["source,target,book", "one,1,x", "two,2,y"])
    assert [pair.group for pair in read_pairs(table, group="book").parts["train"]] == ["x", "y"]
    assert read_pairs(table).parts["train"][0].group is None
    with pytest.raises(DataError, match=r"no such column.*expected chapter"):
        read_pairs(table, group="chapter")
    with pytest.raises(ArgumentError, match="these pairs have none"):
        read_pairs(put(tmp_path / "b.txt", ["a b\tc d"]), group="book")
