"""The .ts format: what is read, what is refused and where."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from rondeau.data.faults import Faults
from rondeau.data.series.ts import own_split, read_ts, ts_files
from rondeau.errors import DataError

HEAD = (
    "# a comment\n@problemName Toy\n@timeStamps false\n@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"
)


def written(folder: Path, text: str, name: str = "toy.ts") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_channels_of_unequal_series_and_missing_values(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD + "1,2,3:4,5,?:a\n\n# between\n6,7:8,9:b\n")
    header, series = read_ts(file)
    assert (header.name, header.channels, header.classes, header.length) == ("Toy", 2, ("a", "b"), None)
    assert [one.label for one in series] == ["a", "b"]
    np.testing.assert_array_equal(series[0].values, [[1, 4], [2, 5], [3, np.nan]])
    assert series[1].values.dtype == np.float32
    assert series[1].where.endswith("line 11")


def test_packed_files_are_the_same(tmp_path: Path) -> None:
    text = HEAD + "1,2:3,4:a\n"
    plain = read_ts(written(tmp_path, text))[1]
    (tmp_path / "toy.ts.gz").write_bytes(gzip.compress(text.encode()))
    packed = read_ts(tmp_path / "toy.ts.gz")[1]
    assert packed[0].digest() == plain[0].digest()


def test_targets_of_regression(tmp_path: Path) -> None:
    head = HEAD.replace("@classLabel true a b", "@targetLabel true")
    header, series = read_ts(written(tmp_path, head + "1,2:3,4:0.5\n"))
    assert header.regression
    assert (series[0].target, series[0].label) == (0.5, None)


def test_without_labels_where_none_are_needed(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD + "1,2:3,4\n1,2:3,4:a\n")
    assert [one.label for one in read_ts(file, labelled=False)[1]] == [None, "a"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1,2:3,x:a", "no number"),
        ("1,2:3:a", "unlike lengths"),
        ("1,2:a", "another number of channels"),
        ("1,2:3,4:c", "the header does not name"),
        (":3,4:a", "without values"),
        ("(0,1),(1,2):(0,3),(1,4):a", "time stamps"),
        ("1e39,2:3,4:a", "not finite"),
    ],
)
def test_a_bad_line_is_named_or_left_out(tmp_path: Path, line: str, what: str) -> None:
    file = written(tmp_path, HEAD + "1,2:3,4:a\n" + line + "\n5,6:7,8:b\n")
    with pytest.raises(DataError, match=f"{what}.*line 9"):
        read_ts(file)
    faults = Faults("skip")
    assert [one.label for one in read_ts(file, faults)[1]] == ["a", "b"]
    assert faults.total == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEAD.replace("timeStamps false", "timeStamps true") + "x\n", "time stamps"),
        ("1,2,3:a\n", "without @"),
        ("@problemName Toy\n", "no data"),
        (HEAD, "no series"),
        (HEAD.replace("@dimensions 2", "@dimensions two") + "1:2:a\n", "whole number"),
        (HEAD.replace("true a b", "true a a") + "1:2:a\n", "named twice"),
    ],
)
def test_what_is_no_such_file_is_said(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_ts(written(tmp_path, text))


def test_other_encodings_and_broken_packing(tmp_path: Path) -> None:
    file = tmp_path / "toy.ts"
    file.write_bytes(HEAD.encode() + b"1,2:3,4:\xe4\n1,2:3,4:a\n")
    with pytest.raises(DataError, match=r"UTF-8.*line 8"):
        read_ts(file)
    (tmp_path / "bad.ts.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_ts(tmp_path / "bad.ts.gz")


def test_a_cut_packed_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress((HEAD + "1,2:3,4:a\n" * 5000 + "5,6:7,8:b\n").encode())
    (tmp_path / "cut.ts.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_ts(tmp_path / "cut.ts.gz")


def test_a_division_of_its_own(tmp_path: Path) -> None:
    for part in ("TRAIN", "TEST"):
        written(tmp_path, HEAD + "1,2:3,4:a\n", f"Toy_{part}.ts")
    assert own_split(tmp_path) == (tmp_path / "Toy_TRAIN.ts", tmp_path / "Toy_TEST.ts")
    assert own_split(tmp_path / "Toy_TEST.ts") == own_split(tmp_path)
    assert own_split(written(tmp_path, HEAD, "other.ts")) is None
    assert [file.name for file in ts_files(tmp_path)] == ["Toy_TEST.ts", "Toy_TRAIN.ts", "other.ts"]
    for part in ("TRAIN", "TEST"):
        written(tmp_path, HEAD + "1,2:3,4:a\n", f"More_{part}.ts")
    with pytest.raises(DataError, match="several data sets"):
        own_split(tmp_path)


def test_digests_know_values_and_shape() -> None:
    from rondeau.data.series.ts import Series

    one = Series(np.array([[1.0, np.nan]], np.float32))
    assert one.digest() == Series(np.array([[1.0, -np.float32("nan")]], np.float32), label="b").digest()
    assert one.digest() != Series(np.array([[1.0], [np.nan]], np.float32)).digest()
