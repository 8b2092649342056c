"""Lines and CSV records of large files: found once, read from anywhere, in constant memory; what is damaged is said."""

from __future__ import annotations

import csv
import gzip
import io
import os
import pickle
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondeau.data.disk import lines as module
from rondeau.data.disk.lines import Lines, fields_of, unpacked
from rondeau.data.faults import Faults
from rondeau.errors import ArgumentError, DataError


def _file(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDEAU_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("block", [1, 3, 1 << 20])
@pytest.mark.parametrize("text", ["", "one", "one\n", "a\n\nb\r\nc", "\n\n", "é\nü\r\n"])
def test_lines_are_python_s(tmp_path: Path, text: str, block: int) -> None:
    expected = io.StringIO(text.replace("\r\n", "\n")).read().split("\n")
    expected = expected[:-1] if expected[-1] == "" else expected
    with mock.patch.object(module, "_BLOCK", block):
        lines = Lines(_file(tmp_path, text))
        assert list(lines) == expected
    assert [lines[i] for i in range(len(lines))] == expected
    assert [lines[i - len(lines)] for i in range(len(lines))] == expected


CELLS = st.text(st.sampled_from('ab,"\n é'), max_size=6)


@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=12), block=st.sampled_from([1, 7, 50]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_are_those_of_the_csv_module(tmp_path: Path, rows: list[list[str]], block: int) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(rows)
    with mock.patch.object(module, "_BLOCK", block):
        lines = Lines(_file(tmp_path, written.getvalue()), delimiter=",")
        assert [fields_of(line) for line in lines] == rows
    assert [lines.fields(i) for i in range(len(lines))] == rows


@given(
    text=st.text(st.sampled_from('ab;"\n'), max_size=40).map(lambda text: text + '"\n'),
    block=st.sampled_from([2, 9, 100]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_odd_quotes_are_read_as_the_csv_module_reads_them(tmp_path: Path, text: str, block: int) -> None:
    """Quotes in the middle of a field are letters; a record that the end leaves open is one fault instead."""
    expected = list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
    faults = Faults("skip")
    with mock.patch.object(module, "_BLOCK", block):
        lines = Lines(_file(tmp_path, text), ";", faults)
    if faults.total == 0:
        assert [fields_of(line, ";") for line in lines] == expected
    else:
        assert "".join(lines.span(i, i + 1).decode() for i in range(len(lines))) == text


def test_a_quote_that_is_never_closed_is_named_or_skipped(tmp_path: Path) -> None:
    rows = [f"{i},fine\n" for i in range(2000)]
    rows[7] = '7,"not closed\n'
    path = _file(tmp_path, "".join(rows))
    with mock.patch.object(module, "LONGEST", 1000), mock.patch.object(module, "_BLOCK", 300):
        with pytest.raises(DataError, match=r"a quote is never closed \(at .*a\.csv, line 8\).*--on-error skip"):
            Lines(path, ",")
        for _ in range(2):  # the second time from the index, which remembers
            faults = Faults("skip")
            lines = Lines(path, ",", faults)
            assert list(lines) == [row[:-1] for row in rows]
            assert faults.to_json() == {"a quote is never closed": {"count": 1, "places": [f"{path}, line 8"]}}
        with pytest.raises(DataError, match="never closed"):
            Lines(path, ",")


def test_bytes_that_are_no_text_are_named_or_skipped(tmp_path: Path) -> None:
    path = _file(tmp_path, b"good\nb\xe4d\nfine\n")
    lines = Lines(path)
    with pytest.raises(DataError, match=r"not UTF-8 text \(at .*line 2\): expected UTF-8, got byte 0xe4"):
        list(lines)
    with pytest.raises(DataError, match="line 2"):
        lines[1]
    faults = Faults("skip")
    assert list(Lines(path, faults=faults).read()) == [(0, "good"), (2, "fine")]
    assert faults.total == 1


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    lines = Lines(_file(tmp_path, b"\xef\xbb\xbfid,x\n1,2\n"), ",")
    assert list(lines) == ["id,x", "1,2"]
    assert lines.fields(0) == ["id", "x"]
    assert lines.span(0, 2) == b"id,x\n1,2\n"


def test_a_part_is_read_with_its_numbers(tmp_path: Path) -> None:
    lines = Lines(_file(tmp_path, "".join(f"{i}\n" for i in range(500))))
    with mock.patch.object(module, "_BLOCK", 40):
        assert list(lines.read(120, 300)) == [(i, str(i)) for i in range(120, 300)]
    with pytest.raises(IndexError):
        lines[500]


def test_the_index_is_made_once_and_anew_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, "a\nb\n")
    assert len(Lines(path)) == 2
    with mock.patch.object(Lines, "_write", side_effect=AssertionError("again")):
        assert len(Lines(path)) == 2
        os.replace(_file(tmp_path, path.read_bytes(), "other"), tmp_path / "third")
        with pytest.raises(AssertionError):
            Lines(path, ",")
    path.write_text("a\nb\nc\n")
    assert list(Lines(path)) == ["a", "b", "c"]
    os.utime(path, ns=(0, 0))
    with pytest.raises(AssertionError), mock.patch.object(Lines, "_write", side_effect=AssertionError("again")):
        Lines(path)


def test_an_index_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    lines = Lines(_file(tmp_path, "a\nb\n"))
    lines.index.write_bytes(lines.index.read_bytes()[:-8])
    assert list(Lines(lines.path)) == ["a", "b"]


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    lines = Lines(_file(tmp_path, "a\nb\n"))
    lines.path.write_text("a\n")
    with pytest.raises(DataError, match="has become shorter"):
        lines[1]


def test_gz_is_unpacked_once(tmp_path: Path) -> None:
    path = _file(tmp_path, gzip.compress(b"a\nb\n"), "a.txt.gz")
    assert list(Lines(path)) == ["a", "b"]
    before = unpacked(path).stat().st_mtime_ns
    assert list(Lines(path)) == ["a", "b"]
    assert unpacked(path).stat().st_mtime_ns == before
    for damaged in (path.read_bytes()[:-9], b"no gzip"):
        with pytest.raises(DataError, match=r"a damaged \.gz file"):
            Lines(_file(tmp_path, damaged, "b.gz"))
    assert not list((tmp_path / "cache" / "data").glob(".*"))


def test_lines_go_to_another_process(tmp_path: Path) -> None:
    lines = Lines(_file(tmp_path, "a\nb\n"))
    again = pickle.loads(pickle.dumps(lines))
    assert list(again) == ["a", "b"]
    assert len(pickle.dumps(lines)) < 2000


def test_what_has_no_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Lines(tmp_path / "absent")
    for wrong in ("", ",,", '"', "\n", "é"):
        with pytest.raises(ArgumentError, match="one ASCII character"):
            Lines(_file(tmp_path, "a"), wrong)
    with pytest.raises(DataError, match="cache folder cannot be made"):
        Lines(_file(tmp_path, "a"), cache=_file(tmp_path, "x", "in the way") / "below")


def test_offsets_are_found_in_any_block(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = "".join("x" * n + "\n" for n in rng.integers(0, 200, 3000))
    with mock.patch.object(module, "_BLOCK", 4096):
        lines = Lines(_file(tmp_path, text))
    assert np.diff(lines.offsets).tolist() == [len(line) + 1 for line in text.split("\n")[:-1]]
