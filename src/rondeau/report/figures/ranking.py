"""How scores rank: the ROC curve, and precision over recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, STYLE, legend, new_grid


@rc_context(STYLE)
def ranking_curves(found: Mapping[str, Any]) -> Figure | None:
    """Both curves, ROC over logarithmic false alarms; what chance gives; the chosen threshold; the share of false
    alarms that was asked about.

    `found`: the entry `curves` of a run's findings.
    """
    roc, precision = found.get("roc"), found.get("precision_recall")
    if not roc or not precision:
        return None
    figure, (left, right) = new_grid(1, 2, 3.0)
    negatives = found.get("negatives", 0)
    least = 0.5 / max(negatives, 1)  # one false alarm is twice as much
    grid = [least ** (1 - i / 60) for i in range(61)]
    left.plot(grid, grid, "--", color=GREY, linewidth=1, label="by chance")
    left.plot([max(x, least) for x, _ in roc], [y for _, y in roc], color=BLUE, label="this model")
    left.set(xlabel="share of false alarms", ylabel="recall: share found")
    positives = found.get("positives", 0)
    if positives + negatives:
        chance = positives / (positives + negatives)
        right.axhline(chance, linestyle="--", color=GREY, linewidth=1, label="by chance")
    right.plot([x for x, _ in precision], [y for _, y in precision], color=BLUE, label="this model")
    right.set(xlabel="recall: share found", ylabel="precision: share right")
    at = found.get("at")
    if at:
        left.plot(
            [max(at["false_positive_rate"], least)],
            [at["recall"]],
            "o",
            color=ORANGE,
            label="chosen threshold",
            zorder=5,
        )
        right.plot([at["recall"]], [at["precision"]], "o", color=ORANGE, label="chosen threshold", zorder=5)
    rate = found.get("false_positive_rate")
    if rate is not None:
        left.axvline(rate, color=INK, linestyle=(0, (1, 2)), linewidth=1, label=f"{100 * rate:g} % false alarms")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    left.set(xscale="log", xlim=(least, 1.1))
    legend(figure, [left, right])
    return figure
