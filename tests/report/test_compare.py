"""Several runs side by side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rondeau.errors import ArgumentError
from rondeau.report import write_comparison
from rondeau.report.compare import labels
from tests.report.made import fit_run, text_run


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        text_run(folder / "wide"),
        text_run(folder / "narrow", bits=2.25, units=32, dropout=0.5),
        fit_run(folder / "fitted"),
    ]
    return " ".join(write_comparison(runs, folder / "compare.html").read_text().split())


def test_it_says_which_is_best(page: str) -> None:
    assert "wide is the best, with bits per character 2.125." in page
    assert '<th scope="row">narrow</th><td class="number">5</td><td class="number">1.1</td>' in page
    assert "Compared: wide and narrow and fitted" in page


def test_settings_that_differ_stand_side_by_side(page: str) -> None:
    assert '<th scope="row">units</th><td>256</td><td>32</td><td>–</td>' in page
    assert '<th scope="row">dropout</th><td>–</td><td>0.5</td><td>–</td>' in page
    assert "data fingerprint" in page


def test_curves_lie_over_each_other(page: str) -> None:
    figures = dict(re.findall(r'<figure id="figure-([\w-]+)">(.*?)</figure>', page))
    assert set(figures) == {
        "curve-bits-per-character",
        "curve-loss",
        "curve-accuracy",
        "memory",
        "decay",
        "gradient-norm",
    }
    for run in ("wide", "narrow"):
        assert f">{run}</text>" in figures["curve-bits-per-character"]
    assert ">fitted</text>" in figures["curve-accuracy"]
    assert ">wide</text>" not in figures["curve-accuracy"]


def test_memory_and_decay_are_compared(page: str) -> None:
    assert page.count('<td class="number">0.920</td><td class="number">56 steps</td>') == 5  # two layers, two, one


def test_runs_measured_on_other_texts_are_not_ranked_silently(tmp_path: Path) -> None:
    runs = [text_run(tmp_path / name, insight=False) for name in ("a", "b")]
    config = runs[1] / "config.json"
    config.write_text(config.read_text().replace("0123abcd", "ffff"))
    text = write_comparison(runs, tmp_path / "out.html").read_text()
    assert "not measured on the same data" in text
    assert '<th scope="row">data fingerprint</th><td>0123abcd</td><td>ffff</td>' in text


def test_the_same_settings_are_said_to_be_the_same(tmp_path: Path) -> None:
    runs = [text_run(tmp_path / name, insight=False) for name in ("a", "b")]
    assert (
        "All settings that were written down are the same." in write_comparison(runs, tmp_path / "o.html").read_text()
    )


def test_one_run_is_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="two runs or more"):
        write_comparison([tmp_path], tmp_path / "out.html")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/1", "runs/2"], ["1", "2"]),
        (["a/run", "b/run"], ["a/run", "b/run"]),
        (["a/x/run", "a/y/run", "other"], ["x/run", "y/run", None]),
        (["runs/1", "runs/1"], ["1 (1)", "1 (2)"]),
    ],
)
def test_names_are_as_short_as_tells_them_apart(paths: list[str], names: list[str | None]) -> None:
    found = labels([Path(path) for path in paths])
    assert all(name is None or name == one for name, one in zip(names, found, strict=True))
    assert len(set(found)) == len(found)
