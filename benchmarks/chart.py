"""The drawing: for each cell, how close everybody comes to the speed of a matrix product."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from benchmarks.cases import TRAINING
from benchmarks.formulas import CUSTOM, STANDARD
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


def draw(outcomes: Sequence[Outcome], format: str = "svg") -> bytes:
    """A picture: a panel a cell, a bar for Rondeau and each peer."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    cells = shares(outcomes)
    columns = [c for c in ([c for c in cells if c in STANDARD], [c for c in cells if c in CUSTOM]) if c]
    rows, bars = max(map(len, columns), default=1), max(map(len, cells.values()), default=1)
    widest = max([1.0, *(share for values in cells.values() for share in values.values())])
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "rondeau", "font.size": 9, "font.family": "sans-serif"}):
        size = (4.9 * max(len(columns), 1), rows * (0.36 + 0.21 * bars) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, max(len(columns), 1), squeeze=False)
        for panel in grid.flat:
            panel.set_axis_off()
        for column, chosen in enumerate(columns):
            for row, cell in enumerate(chosen):
                _panel(grid[row, column], cell, cells[cell], bars, widest)
        figure.supxlabel("speed of training, share of a plain matrix product's on this machine", fontsize=9, color=INK)
        figure.savefig(file, format=format, metadata={"Date": None} if format == "svg" else None, dpi=150)
    return file.getvalue()


def _panel(axes: Any, cell: str, values: dict[str, float], room: int, widest: float) -> None:
    """Bars of one thickness in every panel: `room` of them fit, and `widest` is the longest of all."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    names = [title(name) for name, _ in ordered]
    colours = [OWN if name == OURS.name else OTHERS for name, _ in ordered]
    axes.set_axis_on()
    bars = axes.barh(names, [share for _, share in ordered], color=colours, height=0.74)
    axes.bar_label(bars, [f"{share:.0%}" for _, share in ordered], padding=3, color=INK)
    axes.set_title(cell, loc="left", fontweight="bold", fontsize=9.5, color=INK, pad=3)
    axes.set(xlim=(0, widest * 1.14), ylim=(room - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0, colors=INK)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
