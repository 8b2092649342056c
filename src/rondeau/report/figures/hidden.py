"""What a state holds while a model reads: a heat map of all units, and the way along its principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, new_grid
from rondeau.report.figures.saliency import visible

LABELLED = 60  # steps whose labels can still be read side by side
STEPS = 36  # steps whose labels can still be read along a way

_LETTERS = 80  # of labels that stand side by side under an axis
_BEGIN = 14  # letters of a label

State = dict[str, Any]  # a `HiddenStates` in JSON's types


def heat_maps(states: Sequence[State], labels: Sequence[str] | None = None) -> Figure:
    """The parts of one layer's state, one below the other: units from top to bottom, steps from left to right.

    Blue is above 0, orange below, the ground of the page is 0; the colours are full from the magnitude on that 2 % of a
    part's values exceed. Units stand in the record's `order`. Of a text (`labels`, a token a step) the last 60
    steps are drawn, of a signal or series all.
    """
    last = -LABELLED if labels else None
    units = len(states[0]["values"])
    tall = min(max(units * 0.028, 0.9), 2.6)
    figure, axes = new_grid(len(states), 1, 0.75 + (tall + 0.35) * len(states), sharex=True)
    for one, place in zip(states, axes, strict=True):
        values = np.asarray(one["values"], np.float64)[one["order"], last:]
        top = float(np.quantile(np.abs(values), 0.98)) or float(np.abs(values).max()) or 1.0
        place.imshow(_coloured(np.clip(values / top, -1, 1)), aspect="auto", interpolation="none")
        place.grid(False)
        place.spines[["left", "bottom"]].set_visible(False)
        place.set_yticks([])
        place.set_ylabel(f"{units} units")
        place.set_title(f"{one['part']}: orange below 0, blue above, full from ±{top:.2g} on", fontsize=9.5)
        place.tick_params(axis="x", length=0, pad=2)
    if labels:
        shown = [begin(visible(label)) for label in labels[-LABELLED:]]
        side_by_side = max(map(len, shown)) * len(shown) <= _LETTERS
        turned: dict[str, Any] = {} if side_by_side else {"rotation": 90}
        axes[-1].set_xticks(range(len(shown)), shown, family="monospace", fontsize=7.5, **turned)
    axes[-1].set_xlabel("what was read" if labels else "step")
    return figure


def _coloured(values: Any) -> Any:
    """Values from -1 to 1 as colours that are the stronger the larger, and at 0 not there."""
    rgb = {sign: [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for sign, colour in ((1, BLUE), (-1, ORANGE))}
    picture = np.empty((*values.shape, 4))
    picture[..., :3] = np.where(values[..., None] >= 0, rgb[1], rgb[-1])
    picture[..., 3] = np.abs(values) ** 0.8
    return picture


def trajectories(states: Sequence[State], labels: Sequence[str] | None = None) -> Figure | None:
    """The way of each part of one layer's state along its first two components; late steps are stronger.

    Of a text (`labels`, a token a step) the last 36 steps are drawn, of a signal or series all. None where no part has
    two components.
    """
    shown = [one for one in states if len(one["components"]) > 1]
    if not shown:
        return None
    last = -STEPS if labels else None
    figure, axes = new_grid(len(shown), 1, 3.0 * len(shown))
    for one, place in zip(shown, axes, strict=True):
        first, second = (np.asarray(part, np.float64)[last:] for part in one["components"][:2])
        count = len(first)
        for step in range(1, count):
            now = slice(step - 1, step + 1)
            place.plot(first[now], second[now], color=GREY, linewidth=0.8, alpha=0.15 + 0.5 * step / count)
        late = np.linspace(0.35, 1, count)
        place.scatter(first, second, s=9, color=BLUE, alpha=late, linewidth=0)
        for step, label in enumerate(labels[-STEPS:] if labels else ()):
            place.annotate(
                begin(visible(label)),
                (first[step], second[step]),
                xytext=(2, 2),
                textcoords="offset points",
                fontsize=8,
                family="monospace",
                color=INK,
            )
        place.set_title(one["part"])
        place.set(xlabel=_axis("first", one, 0), ylabel=_axis("second", one, 1))
        place.margins(0.08)
    return figure


def begin(label: str) -> str:
    """The beginning of a long label, such as an event's in words."""
    return label if len(label) <= _BEGIN else label[: _BEGIN - 1] + "…"


def _axis(name: str, one: State, component: int) -> str:
    return f"{name} component, {one['explained'][component]:.0%}"
