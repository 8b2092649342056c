"""Vectors that others have trained: both formats, words that are missing, and lines that are broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rondeau.data.faults import Faults
from rondeau.data.texts.vectors import read_vectors
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import DataError

GLOVE = "the 0.5 -1 2e-1\n. . 1 2 3\nparis 7 8 9\nparis 0 0 0\n1999 4 5 6\n"
WORDS = Vocabulary(["the", "Paris", "PARIS", "unknown", ". .", "1999"])


@pytest.mark.parametrize("kind", ["glove", "vec", "vec.gz"])
def test_formats(tmp_path: Path, kind: str) -> None:
    text = GLOVE if kind == "glove" else "5 3\n" + GLOVE.replace("\n", " \n")
    path = tmp_path / f"a.{kind}"
    path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    found = read_vectors(path, WORDS)
    assert found.table.dtype == np.float32
    assert found.found.tolist() == [False, False, True, True, True, False, True, True]
    assert found.table[[2, 3, 4, 6, 7]].tolist() == [
        pytest.approx([0.5, -1, 0.2]),
        [0, 0, 0],  # the lower-case form as it stands last
        [0, 0, 0],
        [1, 2, 3],
        [4, 5, 6],
    ]
    assert found.table[0].tolist() == [0, 0, 0]


def test_the_word_as_it_is_written_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Paris 1 1\nparis 2 2\nParis 3 3\n")
    for text in ("Paris 1 1\nparis 2 2\nParis 3 3\n", "paris 2 2\nParis 1 1\n"):
        path.write_text(text)
        assert read_vectors(path, Vocabulary(["Paris"])).table[2].tolist() == [1, 1]


def test_missing_words_are_drawn_alike_for_a_seed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a 10 10\nb 10.5 9.5\n")
    words = Vocabulary(["a", "b", *map(str, range(200))])
    first, again, other = (read_vectors(path, words, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.table, again.table)
    assert not np.array_equal(first.table, other.table)
    drawn = first.table[~first.found][1:]
    assert abs(drawn.mean() - 10) < 1
    assert drawn.std() < 1
    assert first.coverage() == pytest.approx(2 / 202)
    assert first.coverage([5, 5, 20, 10, *[0] * 199, 10]) == pytest.approx(0.75)


def test_bad_lines_and_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a 1 2\nb 1\nparis x 2\nc 5 6\n")
    words = Vocabulary(["a", "c", "paris"])
    with pytest.raises(DataError, match=r"a vector of another length \(at .*line 2\)"):
        read_vectors(path, words)
    faults = Faults("skip")
    assert read_vectors(path, words, faults=faults).found.tolist() == [False, False, True, True, False]
    assert {what: kind["count"] for what, kind in faults.to_json().items()} == {
        "a vector of another length": 1,
        "a vector with what is no number": 1,
    }
    with pytest.raises(DataError, match=r"none of the words .*got 1 words"):
        read_vectors(path, Vocabulary(["x"]), faults=Faults("skip"))
    for text in ("", "some plain text\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="no vectors in the file"):
            read_vectors(path, words)
