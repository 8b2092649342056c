from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from rondeau.cli.records import write_records
from rondeau.errors import ArgumentError, DataError

RECORDS = [{"text": 'a "word", and\nmore', "share": 0.25, "tags": ["ä", "b"]}, {"text": "", "share": None, "tags": []}]


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_records(iter(RECORDS), tmp_path / "out.jsonl") == 2
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    write_records(RECORDS, None)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == RECORDS


def test_csv(tmp_path: Path) -> None:
    write_records(RECORDS, tmp_path / "out.CSV")
    with (tmp_path / "out.CSV").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"text": RECORDS[0]["text"], "share": "0.25", "tags": '["ä", "b"]'}
    assert rows[1]["share"] == ""


def test_a_record_with_other_columns_does_not_fit_into_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"other columns.*row 1.*'more'"):
        write_records([{"a": 1}, {"a": 2, "more": 3}], tmp_path / "out.csv")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no such folder: got .*not there.*mkdir -p '.*not there'"):
        write_records(RECORDS, tmp_path / "not there" / "out.csv")
