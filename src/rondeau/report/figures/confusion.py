"""Which label was taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, INK, STYLE, new_figure, short

MOST = 20  # labels that still find room
WRITTEN = 10  # up to so many labels each field has its number


@rc_context(STYLE)
def confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Figure | None:
    """True labels from top to bottom, answers from left to right; a field is the stronger the larger its share.

    Of more than 20 labels the 20 most frequent are drawn. None without any count.
    """
    table = np.asarray(counts, np.float64)
    if table.size == 0 or not table.sum():
        return None
    kept = np.sort(np.argsort(-(table.sum(0) + table.sum(1)), kind="stable")[:MOST])
    table, names = table[np.ix_(kept, kept)], [short(labels[i], 14) for i in kept]
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    size = len(names)
    figure, axes = new_figure(height=1.1 + min(4.2, 0.34 * size + 0.5))
    rgb = [int(BLUE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    picture = np.empty((size, size, 4))
    picture[..., :3] = rgb
    picture[..., 3] = shares**0.6 * 0.85
    axes.imshow(picture, aspect="auto", interpolation="none")
    axes.set_xticks(range(size), names, rotation=0 if size < 5 else 60, ha="center" if size < 5 else "right")
    axes.set_yticks(range(size), names)
    axes.set(xlabel="answered", ylabel="true")
    axes.grid(False)
    axes.tick_params(length=0)
    if size <= WRITTEN:
        for row in range(size):
            for column in range(size):
                if table[row, column]:
                    number = f"{table[row, column]:,.0f}"
                    colour = "white" if shares[row, column] > 0.55 else INK
                    axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=9)
    return figure
