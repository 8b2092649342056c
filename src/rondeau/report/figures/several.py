"""One figure of several runs over their updates."""

from __future__ import annotations

import math

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.report.figures.curves import line
from rondeau.report.figures.drawing import STYLE, legend, logarithmic, new_figure
from rondeau.report.figures.thin import look, peaks


@rc_context(STYLE)
def over_updates(runs: list[tuple[str, list[tuple[int, float]]]], label: str, log: bool = False) -> Figure | None:
    """Points of update and value of each run, by name."""
    figure, axes = new_figure(2.7)
    for i, (name, points) in enumerate(runs):
        good = peaks([(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)], lambda point: point[1])
        if good:
            axes.plot(*zip(*good, strict=True), line(i), label=name, **look(i, len(good)))
    if not axes.lines:
        return None
    axes.set(xlabel="update", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if log:
        logarithmic(axes)
    legend(figure, [axes])
    return figure
