"""The programs in examples/ run as they stand, and what they print at the end is true and good enough."""

from __future__ import annotations

import io
import re
import runpy
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str) -> tuple[dict[str, Any], str]:
    """What a program defines, and what it prints."""
    text, path = io.StringIO(), str(EXAMPLES / f"{name}.py")
    with redirect_stdout(text), patch.object(sys, "argv", [path]):
        names = runpy.run_path(path, run_name="__main__")
    return names, text.getvalue()


once = cache(run)


def numbers(text: str, pattern: str) -> list[float]:
    """The numbers that stand where `pattern` has its groups."""
    found = re.search(pattern, text)
    assert found, text
    return [float(number) for number in found.groups()]


@pytest.mark.parametrize(
    ("name", "pattern", "bar"),
    [
        ("one_to_one", r"points it has not seen: ([\d.]+)", 0.93),
        ("one_to_many", r"without a mistake, of numbers it has not seen: ([\d.]+)", 0.9),
        ("many_to_one", r"after fifty to sixty steps: ([\d.]+)", 0.95),  # one half is chance
        ("many_to_many", r"three times as long as those it learnt from: ([\d.]+)", 0.98),
        ("many_to_many_other_length", r"without a mistake, of numbers it has not seen: ([\d.]+)", 0.95),
    ],
)
def test_what_it_has_learnt_holds_for_what_it_has_not_seen(name: str, pattern: str, bar: float) -> None:
    (accuracy,) = numbers(once(name)[1], pattern)
    assert accuracy > bar


def test_names_and_numerals_are_those_of_the_world() -> None:
    names, text = once("one_to_many")
    assert [names["name"](n) for n in (0, 18, 20, 99, 100, 342)] == [
        *("zero", "eighteen", "twenty", "ninety nine", "one hundred", "three hundred forty two")
    ]
    assert re.search(r"for example \d+: [a-z ]+\n", text)
    names, text = once("many_to_many_other_length")
    signs = ["".join(names["SIGNS"][sign] for sign in names["roman"](n)) for n in (4, 1994, 2026, 3999)]
    assert signs == ["IV", "MCMXCIV", "MMXXVI", "MMMCMXCIX"]
    assert re.search(r"for example \d+: [IVXLCDM]+\n", text)


def test_the_spring_s_constants_are_found() -> None:
    stiffness, damping = numbers(once("custom_cell")[1], r"stiffness ([\d.]+) .* damping ([\d.]+) ")
    assert stiffness == pytest.approx(2.0, abs=0.02)
    assert damping == pytest.approx(0.3, abs=0.02)


def test_the_order_of_the_pixels_tells_the_lstm_what_their_mean_does_not() -> None:
    text = once("digits")[1]
    print(text)  # the feed-forward network stands beside them, whichever wins
    lstm, mean, feed_forward = numbers(text, r"LSTM: ([\d.]+)\nmean: ([\d.]+)\nfeed-forward: ([\d.]+)")
    assert lstm > 0.85
    assert lstm > mean + 0.3
    assert 0 < feed_forward <= 1


def test_what_was_marked_is_remembered_and_added() -> None:
    (error,) = numbers(once("adding")[1], r"GRU over 50 steps: error ([\d.e-]+) on")
    assert error < 0.167 / 8  # the mean as an answer has 0.167


@pytest.mark.slow
def test_every_cell_reads_digits_pixel_by_pixel() -> None:
    text = once("pixels")[1]
    print(text)
    for name in ("SimpleRNN", "LSTM", "GRU"):
        in_order, permuted = numbers(text, name + r" +([\d.]+) +([\d.]+)")
        assert in_order > 0.8
        assert permuted > 0.8


def test_the_same_seed_prints_the_same() -> None:
    assert run("many_to_many")[1] == once("many_to_many")[1]


@pytest.mark.slow
def test_what_was_learnt_on_short_sequences_is_judged_on_long_ones() -> None:
    text = run("lengths")[1]
    print(text)
    found = {line[:13].strip(): [float(n) for n in line[14:].split()] for line in text.splitlines()[1:]}
    assert [name for name in found if name != "worst"] == ["copy memory", "bracket depth", "running sum"]
    assert all(min(values[:4]) > 0.9 for values in found.values())  # up to 100 steps, as long as it has learnt from
    assert found["running sum"][-1] > 0.9  # at 1,000
