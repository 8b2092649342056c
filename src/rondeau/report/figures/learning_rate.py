"""The loss over rising learning rates."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from matplotlib.figure import Figure

from rondeau.insight import LearningRates
from rondeau.report.figures.drawing import BLUE, GREEN, GREY, ORANGE, legend, new_figure, to_svg


def learning_rate_curve(found: dict[str, Any]) -> Figure:
    """What `find_learning_rate` gave, as a dict: each rate's loss, the smoothed curve, and the rates that matter."""
    figure, axes = new_figure(3.0)
    rates = found["rates"]
    losses = [_number(loss) for loss in found["losses"]]
    smoothed = [_number(loss) for loss in found["smoothed"]]
    axes.plot(rates, losses, ".", markersize=3, color=GREY, label="loss of the next batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    axes.set_xscale("log")
    for key, colour, style, words in (
        ("suggestion", GREEN, "-", "suggestion"),
        ("ceiling", ORANGE, "--", "not above"),
        ("diverged", ORANGE, ":", "diverged"),
    ):
        if found.get(key):
            axes.axvline(found[key], color=colour, linestyle=style, linewidth=1.4, label=f"{words}: {found[key]:.2g}")
    finite = [loss for loss in smoothed if math.isfinite(loss)]
    if finite:
        begin, low = finite[0], min(finite)
        room = max(begin - low, abs(begin) * 0.05, 1e-12)
        axes.set_ylim(low - 0.3 * room, begin + 0.8 * room)
    axes.set(xlabel="learning rate", ylabel="loss")
    legend(figure, [axes])
    return figure


def learning_rate_svg(found: LearningRates) -> str:
    """What `find_learning_rate` gave, as SVG text: a picture of its own."""
    return to_svg(learning_rate_curve(asdict(found)), "learning-rate")


def _number(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else math.nan
