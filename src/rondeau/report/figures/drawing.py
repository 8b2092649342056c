"""What every picture shares: size, colours, and how it becomes SVG text."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f6feb", "#d1610a", "#8a8f98"


def new_figure(height: float = 3.2) -> tuple[Figure, Any]:
    """An empty figure of the width of a page, and its axes; `height` in inches."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#444c56")
    return figure, axes


def to_svg(figure: Figure) -> str:
    """The drawing as an inline SVG element; the same figure gives the same text."""
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "rondeau"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
