"""The drawing: for each cell, how close everybody comes to the speed of a matrix product."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from benchmarks.cases import TRAINING
from benchmarks.measure import Outcome
from benchmarks.peers import OURS
from benchmarks.report import title
from benchmarks.stats import geometric_mean

OWN, OTHERS, INK = "#1f6feb", "#b6bcc4", "#30363d"


def shares(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Cell -> peer -> share of sgemm in training, the geometric mean over the cases of many rows of one length.

    A peer counts in a cell only if it has a green time in every case that Rondeau has one in.
    """
    found: dict[str, dict[str, float]] = {}
    for cell in dict.fromkeys(o.problem.cell for o in outcomes if o.problem.mode == TRAINING):
        chosen = [o for o in outcomes if (o.problem.cell, o.problem.mode) == (cell, TRAINING)]
        chosen = [o for o in chosen if o.problem.case.batch > 1 and not o.problem.case.ragged]
        names = dict.fromkeys(name for o in chosen for name in o.entries)
        values = {name: [o.share(name) for o in chosen] for name in names}
        complete = {n: [s for s in v if s is not None] for n, v in values.items()}
        found[cell] = {n: geometric_mean(v) for n, v in complete.items() if v and len(v) == len(chosen)}
    return {cell: values for cell, values in found.items() if values}


def draw(outcomes: Sequence[Outcome]) -> str:
    """An SVG document: a panel a cell, a bar for Rondeau and each peer."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    cells = shares(outcomes)
    heights = [len(values) for values in cells.values()] or [1]
    with rc_context({"svg.hashsalt": "rondeau", "font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(7.2, 0.5 + 0.25 * sum(heights) + 0.42 * len(heights)), layout="constrained")
        panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (cell, values) in zip(panels, cells.items(), strict=False):
            _panel(axes, cell, values)
        panels[-1].set_xlabel("training speed, share of the machine's own matrix product (geometric mean)", color=INK)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _panel(axes: Any, cell: str, values: dict[str, float]) -> None:
    ordered = sorted(values.items(), key=lambda item: item[1])
    colours = [OWN if name == OURS.name else OTHERS for name, _ in ordered]
    bars = axes.barh([title(name) for name, _ in ordered], [v * 100 for _, v in ordered], color=colours, height=0.72)
    axes.bar_label(bars, [f"{value:.0%}" for _, value in ordered], padding=3, color=INK)
    axes.set_title(cell, loc="left", fontsize=9.5, fontweight="bold", color=INK, pad=3)
    axes.set_xlim(0, 112)
    axes.set_xticks([])
    axes.tick_params(length=0, colors=INK)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(OTHERS)
