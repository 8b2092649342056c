"""Which task data look like, and what is said of it."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

pytest.importorskip("pandas")

from rondeau.errors import DataError
from rondeau.tasks.registry import guess_task

DRAW = random.Random(0)
NUMBERS = dict(zip(("eins", "zwei", "drei", "vier"), ("one", "two", "three", "four"), strict=True))


def sentences(count: int) -> list[str]:
    return [" ".join(DRAW.choices(list(NUMBERS), k=DRAW.randint(3, 7))) for _ in range(count)]


def pairs(first: str, between: str) -> str:
    said = [(one, " ".join(NUMBERS[word] for word in one.split())) for one in sentences(60)]
    return first + "".join(f"{a}{between}{b}\n" for a, b in said)


def days(rows: list[str], first: str) -> str:
    return "\n".join([first, *(f"2024-{1 + i // 28:02d}-{1 + i % 28:02d};{row}" for i, row in enumerate(rows))])


def shops(told: str) -> str:
    """Sales of five shops by the day, with a switch that changes or the kind of the shop."""
    rows = ["tag;filiale;ware;" + told]
    for day in range(60):
        for shop in range(6):
            switch = int(DRAW.random() < 0.3) if told == "aktion" else "AB"[shop % 2]
            rows.append(f"2024-{1 + day // 28:02d}-{1 + day % 28:02d};f{shop};{10 + day % 7 + shop};{switch}")
    return "\n".join(rows) + "\n"


BOOK = "\n".join(sentences(200)) + "\n"
TAGS = "eins O\nzwei B-X\n\n" * 20
CASES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "book": ({"book.txt": BOOK}, "book.txt", "language_model", "plain text"),
    "packed book": ({"book.txt.gz": BOOK}, "book.txt.gz", "language_model", "plain text"),
    "packed chapters": ({"anna.txt.gz": BOOK, "karl.txt.gz": BOOK}, "", "language_model", "folder of plain texts"),
    "classes": ({f"{c}/{i}.txt": BOOK for c in "ab" for i in range(3)}, "", "text_classification", "a folder for each"),
    "tags": ({"a.iob": TAGS}, "a.iob", "tagging", "a word and its tags"),
    "tab": ({"p.tsv": pairs("", "\t")}, "p.tsv", "translation", "a tab between"),
    "parallel": ({"p.de": BOOK, "p.en": BOOK}, "p.de", "translation", "p.de and p.en"),
    "two columns": ({"p.csv": pairs("français;englisch\n", ";")}, "p.csv", "translation", "'français' and 'englisch'"),
    "one column": ({"p.csv": "satz\n" + BOOK}, "p.csv", "language_model", "'satz'"),
    "shops with a switch": ({"s.csv": shops("aktion")}, "s.csv", "forecasting", "'tag' says when"),
    "shops of two kinds": ({"s.csv": shops("art")}, "s.csv", "forecasting", "'tag' says when"),
    "series": ({"s.csv": days([str(i % 7) for i in range(60)], "tag;wert")}, "s.csv", "forecasting", "'tag' says when"),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return folder


@pytest.mark.parametrize("case", CASES)
def test_data_show_what_they_are_for(tmp_path: Path, case: str) -> None:
    files, name, task, why = CASES[case]
    found, reason = guess_task(write(tmp_path, files) / name)
    assert found.name == task
    assert why in reason


def test_a_title_and_a_long_text_are_no_pairs(tmp_path: Path) -> None:
    rows = [f"{one};{one} {one} {one}" for one in sentences(60)]
    write(tmp_path, {"a.csv": "\n".join(["titel;inhalt", *rows])})
    assert guess_task(tmp_path / "a.csv")[0].name == "language_model"


def test_what_looks_like_nothing_names_all_tasks(tmp_path: Path) -> None:
    write(tmp_path, {"a.bin": "\0"})
    with pytest.raises(DataError, match=r"none of the tasks.*--task music \| .* \| tagging \| translation"):
        guess_task(tmp_path / "a.bin")
    (tmp_path / "a.csv").write_bytes("wort;klasse\nschön;1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not utf-8 \(at .*a.csv, line 2\).*byte 0xf6.*--encoding latin-1 --task"):
        guess_task(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"no such file or folder"):
        guess_task(tmp_path / "b.bin")
