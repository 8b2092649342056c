"""What is shown of long work: nothing below two seconds, then a bar on a terminal, or a line now and then."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest

from rondeau.data import progress as module
from rondeau.data.progress import Meter, progress


class Terminal(io.StringIO):
    """A terminal, as far as anyone can tell."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()
    assert time.monotonic() > 0


def test_short_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), "counting")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_elsewhere_a_line_every_ten_seconds(clock: list[float]) -> None:
    out = io.StringIO()
    with Meter("counting words", 100, "lines", out) as meter:
        for _ in range(60):
            clock[0] += 0.5
            meter.advance()
    assert out.getvalue().splitlines() == [
        "counting words: 4 lines of 100 lines (4%), 2 lines/s, 0:48 left",
        "counting words: 24 lines of 100 lines (24%), 2 lines/s, 0:38 left",
        "counting words: 44 lines of 100 lines (44%), 2 lines/s, 0:28 left",
        "counting words: 60 lines in 30 s",
    ]


def test_bytes_are_shown_as_what_they_come_to(clock: list[float]) -> None:
    out = io.StringIO()
    with Meter("indexing", None, "B", out) as meter:
        clock[0] += 2
        meter.advance(2_400_000_000)
    assert out.getvalue().startswith("indexing: 2.4 GB, 1.2 GB/s\n")


def test_on_a_terminal_a_bar_that_goes(clock: list[float]) -> None:
    out = Terminal()
    with Meter("indexing", 10, file=out) as meter:
        for _ in range(10):
            clock[0] += 1
            meter.advance()
    assert "indexing: 2 of 10 (20%)" in out.getvalue()
    assert out.getvalue().endswith("indexing: 10 in 10 s\n")


def test_work_that_fails_leaves_no_line_of_success(clock: list[float]) -> None:
    out = Terminal()

    def interrupted() -> None:
        with Meter("indexing", 10, file=out) as meter:
            clock[0] += 3
            meter.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert " in " not in out.getvalue()


def test_it_goes_to_standard_error_and_knows_the_length(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress([1, 2, 3], "counting"):
        clock[0] += 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("counting: 1 of 3 (33%)")
