"""Where a decoder looked: a square for each token written and each token read."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, GREY, STYLE, new_figure, short
from rondeau.report.figures.saliency import visible

LETTERS = 16  # of a token, before it is cut short

Look = dict[str, Any]  # source, target, weights (a row a target token), in JSON's types


@rc_context(STYLE)
def attention_map(look: Look) -> Figure:
    """What was read from left to right, what was written from top to bottom; blue the stronger, the more was taken.

    A row's weights add up to 1, and a square is full at 1; the ground of the page is 0.
    """
    weights = np.clip(np.asarray(look["weights"], np.float64), 0, 1)
    read, written = ([_label(token) for token in look[side]] for side in ("source", "target"))
    letters = max(map(len, read))
    figure, axes = new_figure(0.19 * len(written) + 0.35 + min(0.085 * letters, 1.3))
    picture = np.empty((*weights.shape, 4))
    picture[..., :3] = to_rgb(BLUE)
    picture[..., 3] = weights**0.7
    axes.imshow(picture, aspect="auto", interpolation="none")
    single = letters == 1
    axes.set_xticks(range(len(read)), read, rotation=0 if single else 90, fontsize=9, family=_family(single))
    axes.set_yticks(range(len(written)), written, fontsize=9, family=_family(single))
    axes.set_xticks(np.arange(-0.5, len(read)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(written)), minor=True)
    axes.grid(False)
    axes.grid(True, which="minor", linewidth=0.5)
    axes.tick_params(which="both", length=0, pad=3)
    axes.xaxis.tick_top()
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set(color=GREY, linewidth=0.6)
    return figure


def strongest(look: Look) -> str:
    """In words, for those who do not see it: of each token written, the one it took most from."""
    pairs = zip(look["target"], look["weights"], strict=True)
    return ", ".join(f"{visible(token)} from {visible(look['source'][int(np.argmax(row))])}" for token, row in pairs)


def _label(token: str) -> str:
    return short(visible(token).replace("$", r"\$"), LETTERS)


def _family(single: bool) -> str:
    return "monospace" if single else "sans-serif"
