"""The report says what the numbers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rondeau.report import write_report

HISTORY = [{"epoch": n, "bits_per_character": 3 / n, "val_bits_per_character": 3 / n + 0.1 * n} for n in range(1, 6)]
SETTINGS = {"path": None, "units": 256}
CONFIG = {
    "settings": SETTINGS,
    "data": {"name": "a <b>text</b>", "characters": {"train": 1234567, "validation": 10, "test": 20}},
}


def _report(tmp_path: Path, bits: float, speed: dict[str, Any] | None = None) -> str:
    rows: list[dict[str, Any]] = [
        {"name": "unigram", "parameters": 90, "bits_per_character": 4.5},
        {"name": "5-gram", "parameters": 12000, "bits_per_character": 2.5},
        {"name": "lstm", "parameters": 340000, "bits_per_character": bits},
    ]
    path = tmp_path / "report.html"
    layers = [("lstm (LSTM)", "(None, None, 256)", "340000")]
    write_report(
        path,
        config=CONFIG,
        history=HISTORY,
        speed=speed,
        rows=rows,
        samples="x < y & z",
        layers=layers,
        totals=["Total params: 1"],
    )
    return path.read_text()


def test_it_says_by_how_much_the_model_wins(tmp_path: Path) -> None:
    page = _report(tmp_path, 2.125)
    assert "0.375 fewer than the best baseline, 5-gram" in " ".join(page.split())
    assert "1,234,567" in page


def test_it_says_so_when_the_model_loses(tmp_path: Path) -> None:
    page = " ".join(_report(tmp_path, 2.75).split())
    assert "No: it needs 2.750 bits" in page
    assert "5-gram only 2.500" in page


def test_it_says_how_fast_where_that_was_measured(tmp_path: Path) -> None:
    speed = {"tokens": 3282170, "seconds": 112.4, "tokens_per_second": 29200.8, "where": "2 threads"}
    assert "3,282,170 tokens in 112.4 s: 29,201 tokens a second on 2 threads" in " ".join(
        _report(tmp_path, 2.0, speed).split()
    )
    assert "a second" not in _report(tmp_path, 2.0)


def test_text_is_escaped_and_the_page_repeats(tmp_path: Path) -> None:
    page = _report(tmp_path, 2.0)
    assert "x &lt; y &amp; z" in page
    assert "a &lt;b&gt;text" in page
    assert page == _report(tmp_path, 2.0)


@pytest.mark.parametrize("name", ["best 1.", "bits per character", "epoch"])
def test_the_curves_are_labelled(tmp_path: Path, name: str) -> None:
    # matplotlib draws letters as paths, and keeps the words as comments
    assert name in _report(tmp_path, 2.0)
