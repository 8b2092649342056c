"""Bars of models: long names leave room for them."""

from __future__ import annotations

from rondeau.insight.results import Metric, Results, Row
from rondeau.report.figures.curves import comparison


def test_long_names_leave_room_for_the_bars() -> None:
    names = ("most frequent tag per word, endings for unknown words", "lstm both ways and a conditional random field")
    rows = [Row(name, 1, {"accuracy": 0.5}, {}) for name in names]
    figure = comparison(Results([Metric("accuracy", percent=True)], rows))
    assert figure is not None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 0.5 * figure.bbox.width
    assert axes.xaxis.label.get_window_extent().x1 <= figure.bbox.x1
    assert [" ".join(label.get_text().split()) for label in axes.get_yticklabels()] == list(names[::-1])
