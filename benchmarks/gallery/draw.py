"""The pictures: learning curves, and gradients on their way back through time, before and after learning."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from benchmarks.gallery.problems import PROBLEMS
from benchmarks.gallery.train import Run

COLOURS = {
    "SimpleRNN": "#c1440e",
    "LSTM": "#1f5fa8",
    "LSTM, chrono": "#5aa0e0",
    "GRU": "#3a7d2c",
    "IndRNN": "#7b4aa1",
    "linear": "#6b7079",
}
DASHED = ("LSTM, chrono", "linear")
FLOOR = 1e-10  # of what is left of a gradient, as far down as the picture shows
LOSSES = {"adding": (4e-5, 1.0), "copy": (2e-3, 5.0)}  # so far down and up


def learning(runs: Sequence[Run], problem: str, format: str = "svg") -> bytes:
    """Loss over updates, a panel a length."""
    figure, panels, lengths = _panels(runs, 1)
    for axes, steps in zip(panels[0], lengths, strict=True):
        for run in _at(runs, problem, steps):
            axes.semilogy(run.updates, run.loss, **_line(run.cell))
        axes.axhline(PROBLEMS[problem].guess, color="#30363d", lw=0.8, ls=":")
        axes.set_ylim(*LOSSES[problem])
        axes.set_title(f"{steps:,} steps", fontsize=11)
        axes.set_xlabel("updates")
    panels[0][0].set_ylabel("loss (dotted: guessing)")
    return _drawn(figure, panels, format)


def gradients(runs: Sequence[Run], problem: str, format: str = "svg") -> bytes:
    """What is left of the gradient over the steps back, before learning and after it, a column a length."""
    figure, panels, lengths = _panels(runs, 2)
    for row, moment in enumerate(("before", "after")):
        for axes, steps in zip(panels[row], lengths, strict=True):
            for run in _at(runs, problem, steps):
                lags, share = left(getattr(run, moment))
                axes.semilogy(lags, [value if value > 0 else FLOOR / 10 for value in share], **_line(run.cell))
            axes.axhline(0.01, color="#30363d", lw=0.8, ls=":")
            axes.set_ylim(FLOOR, 1e4)
            axes.set_title(f"{steps:,} steps, {moment} learning", fontsize=11)
        panels[row][0].set_ylabel("share of gradient left")
    for axes in panels[1]:
        axes.set_xlabel("steps back from the last one")
    return _drawn(figure, panels, format)


def left(norms: Sequence[float]) -> tuple[list[int], list[float]]:
    """Lags, thinned out where there are many, and at each the gradient's norm as a share of that at the last step."""
    every = max(1, len(norms) // 150)
    lags = [*range(0, len(norms) - 1, every), len(norms) - 1]
    begin = norms[0]
    return lags, [norms[lag] / begin if begin else 0.0 for lag in lags]


def _panels(runs: Sequence[Run], rows: int) -> tuple[Any, Any, list[int]]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lengths = sorted({run.steps for run in runs})
    figure = Figure(figsize=(9.6, 0.7 + 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, len(lengths), sharey=True, squeeze=False)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(alpha=0.25)
        axes.margins(x=0.02)
    return figure, panels, lengths


def _at(runs: Sequence[Run], problem: str, steps: int) -> list[Run]:
    return [run for run in runs if (run.problem, run.steps) == (problem, steps) and run.cell in COLOURS]


def _line(cell: str) -> dict[str, Any]:
    return {"label": cell, "color": COLOURS[cell], "lw": 1.6, "ls": "--" if cell in DASHED else "-"}


def _drawn(figure: Any, panels: Any, format: str) -> bytes:
    from matplotlib import rc_context

    named = {
        label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    order = [cell for cell in COLOURS if cell in named]
    figure.legend([named[c] for c in order], order, loc="outside upper center", ncols=len(order), frameon=False)
    file = io.BytesIO()
    with rc_context({"svg.hashsalt": "rondeau", "font.family": "DejaVu Sans"}):
        metadata = {"Date": None} if format == "svg" else None
        figure.savefig(file, format=format, metadata=metadata, dpi=120, facecolor="white")
    return file.getvalue()
