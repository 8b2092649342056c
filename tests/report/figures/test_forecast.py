"""Pictures of forecasts, and the section that holds them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from rondeau.report.figures.drawing import to_svg
from rondeau.report.figures.forecast import by_step, forecasts
from rondeau.report.sections.forecast import forecast
from rondeau.tasks.record import RunRecord


def example(bands: bool = True, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "series": "north & south",
        "stamps": [f"2024-01-{day:02d}" for day in range(1, 10)],
        "history": [1.0, 2.0, None, 4.0, 5.0],
        "truth": [6.0, 7.0, None, 9.0],
        "median": [6.5, 7.0, 8.0, 8.5],
    }
    if bands:
        made |= {"low_80": [5.0, 5.0, 6.0, 6.0], "high_80": [8.0, 8.0, 9.0, 8.0]}
        made |= {"low_50": [6.0, 6.0, 7.0, 7.0], "high_50": [7.0, 7.0, 8.0, 7.5]}
    return {**made, **changes}


STEPS = [{"step": 1, "error": 0.5, "covered": 0.9}, {"step": 2, "error": 1.0, "covered": 0.7}]


def test_each_example_has_axes_with_history_truth_forecast_and_bands() -> None:
    figure = forecasts([example(), example(series="west")], "sold")
    assert figure is not None
    above, below = figure.axes
    assert (above.get_title(loc="left"), below.get_title(loc="left")) == ("north & south", "west")
    assert len(above.collections) == 2  # the bands
    before, came, median = above.lines[:3]
    assert before.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert came.get_xdata().tolist() == [4, 5, 6, 7, 8]  # joined to the last value read
    assert median.get_ydata().tolist() == [6.5, 7.0, 8.0, 8.5]
    assert above.get_xticklabels()[0].get_text() == "2024-01-01"
    svg = to_svg(figure)
    for word in ("north &amp; south", "80 % interval", "forecast (median)", "came"):
        assert word in svg


def test_a_point_has_no_bands() -> None:
    same = example(low_80=[6.5, 7.0, 8.0, 8.5], high_80=[6.5, 7.0, 8.0, 8.5])
    figure = forecasts([same], "sold")
    assert figure is not None
    assert not figure.axes[0].collections
    assert forecasts([], "sold") is None


def test_errors_by_step() -> None:
    figure = by_step(STEPS, "sold")
    assert figure is not None
    assert len(figure.axes) == 2
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.5, 1.0]
    assert figure.axes[1].lines[0].get_ydata().tolist() == [90.0, 70.0]
    assert by_step(STEPS[:1], "sold") is None
    alone = by_step([{**one, "covered": 0.0} for one in STEPS], "sold")
    assert alone is not None
    assert len(alone.axes) == 1


def test_the_section_says_in_words_what_it_draws() -> None:
    found = {"target": "sold", "examples": [example()], "steps": STEPS, "horizon": 4}
    made = forecast(RunRecord(Path("run"), findings={"forecast": found}))
    assert made is not None
    drawing, steps = made.blocks
    assert "north & south: 4 steps from 2024-01-06 on, 2 of 3 within the 80 % interval." in drawing.alt
    assert "Mean error 0.5 one step ahead, 1 after 2; 90 % and 70 % lie in the 80 % interval." in steps.alt
    assert forecast(RunRecord(Path("run"))) is None


def test_stamps_do_not_touch() -> None:
    days, hours = (
        forecasts([example(stamps=stamps)], "sold")
        for stamps in (
            [f"2024-01-{day:02d}" for day in range(1, 10)],
            [f"2024-01-01T{hour:02d}:30:00" for hour in range(9)],
        )
    )
    for figure, most in ((days, 4), (hours, 3)):
        assert figure is not None
        figure.draw_without_rendering()
        ends = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
        assert len(ends) == most
        assert all(a.x1 < b.x0 for a, b in pairwise(ends))
