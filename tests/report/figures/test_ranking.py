"""ROC and precision over recall, drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from rondeau.report.figures.drawing import to_svg
from rondeau.report.figures.ranking import ranking_curves
from rondeau.report.page import render_section
from rondeau.report.sections.curves import curves
from rondeau.tasks.ranking import Ranking
from rondeau.tasks.record import RunRecord

AT = {"false_positive_rate": 0.25, "recall": 0.5, "precision": 0.5}


def test_both_curves_are_drawn_with_what_they_stand_beside() -> None:
    found = Ranking([1, 0, 1, 0, 0, 0], [6, 5, 4, 3, 2, 1]).curves() | {"false_positive_rate": 0.01, "at": AT}
    figure = ranking_curves(found)
    assert figure is not None
    left, right = figure.axes
    roc = next(line for line in left.lines if line.get_label() == "this model")
    assert roc.get_ydata()[-1] == 1
    assert left.get_xscale() == "log"
    chance = next(line for line in right.lines if line.get_label() == "by chance")
    assert chance.get_ydata()[0] == pytest.approx(2 / 6)
    dots = [line for line in right.lines if line.get_label() == "chosen threshold"]
    assert (dots[0].get_xdata()[0], dots[0].get_ydata()[0]) == (0.5, 0.5)
    assert "1 % false alarms" in to_svg(figure)


def test_without_curves_there_is_no_section() -> None:
    assert ranking_curves({}) is None
    assert curves(RunRecord(Path("run"))) is None


def test_the_section_says_the_figures_in_words() -> None:
    found = Ranking([1, 0, 1, 0, 0, 0], [6, 5, 4, 3, 2, 1]).curves() | {"at": AT}
    section = curves(RunRecord(Path("run"), findings={"curves": found}))
    assert section is not None
    page = render_section(section, {})
    assert "50.0 % of the 2 looked for" in page.replace("\n", " ")
    assert "25.00 %" in page
