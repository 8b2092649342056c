"""How a model learnt, and how it stands beside others."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.insight.results import Results
from rondeau.report.figures.drawing import BLUE, GREY, INK, SERIES, STYLE, legend, new_figure, new_grid

HELD_OUT = "val_"
_NAME = 26  # letters of a line of a model's name
WORDS = {"bits_per_character": "bits per character"}


def metrics(history: list[dict[str, Any]]) -> list[str]:
    """The metrics to draw: where there are bits per character, the losses say the same in another unit."""
    names = [
        name
        for name, value in (history[0] if history else {}).items()
        if name != "epoch" and isinstance(value, (int, float)) and not name.startswith(HELD_OUT)
    ]
    return [name for name in names if name != "loss" or "bits_per_character" not in names]


def word(metric: str) -> str:
    """A metric's name as words."""
    return WORDS.get(metric, metric.replace("_", " "))


def series(history: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one metric, those epochs left out that lack it or where it is not finite."""
    pairs = [(record.get("epoch", i + 1), record.get(name)) for i, record in enumerate(history)]
    good = [(x, float(y)) for x, y in pairs if isinstance(y, (int, float)) and math.isfinite(y)]
    return [x for x, _ in good], [y for _, y in good]


def best(history: list[dict[str, Any]], metric: str) -> tuple[float, float] | None:
    """Epoch and value of the best held-out value of a metric that is the better the lower; None where unknown."""
    if not _falls(metric):
        return None
    epochs, values = series(history, HELD_OUT + metric)
    return min(zip(epochs, values, strict=True), key=lambda pair: pair[1], default=None)


def _falls(metric: str) -> bool:
    falling = {"loss", "bits_per_character", "perplexity", "mse", "mae"}
    return metric in falling or metric.endswith(("_error", "entropy"))


@rc_context(STYLE)
def learning_curves(history: list[dict[str, Any]]) -> Figure | None:
    """Each metric on training and held-out data after each epoch."""
    names = metrics(history)
    if not names:
        return None
    columns = 1 if len(names) == 1 else 2
    rows = math.ceil(len(names) / columns)
    figure, axes = new_grid(rows, columns, 2.7 if rows == 1 else 0.4 + 1.9 * rows)
    for one, name in zip(axes, names, strict=False):
        _curve(one, history, name)
    for one in axes[len(names) :]:
        one.set_visible(False)
    legend(figure, axes)
    return figure


def _curve(axes: Any, history: list[dict[str, Any]], name: str) -> None:
    for key, label, colour, marker in (
        (name, "training, during the epoch", GREY, "s--"),
        (HELD_OUT + name, "held out, after it", BLUE, "o-"),
    ):
        epochs, values = series(history, key)
        if values:
            axes.plot(epochs, values, marker, markersize=3, color=colour, label=label)
    low = best(history, name)
    if low:
        axes.annotate(
            f"best {low[1]:.3f}", low, xytext=(0, -14), textcoords="offset points", ha="center", color=INK, fontsize=9.5
        )
    axes.set(xlabel="epoch", ylabel=word(name))
    count_epochs(axes, [record.get("epoch", i + 1) for i, record in enumerate(history)])
    axes.margins(y=0.2)


@rc_context(STYLE)
def comparison(results: Results) -> Figure | None:
    """What decides, of each model, a bar each with its interval; the last row is the recurrent one."""
    metric = results.metric
    rows = [row for row in results.rows if math.isfinite(row.scores.get(metric.name, math.nan))][::-1]
    if not rows:
        return None
    names = [textwrap.fill(row.name, _NAME) for row in rows]  # long ones would leave no room for the bars
    figure, axes = new_figure(height=0.6 + 0.4 * len(rows) + 0.13 * sum(name.count("\n") for name in names))
    values = [row.scores[metric.name] for row in rows]
    colours = [BLUE if row is results.own else GREY for row in rows]
    axes.barh(range(len(rows)), values, color=colours, height=0.6)
    most = max(values)
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        end = max(value, row.intervals.get(metric.name, (value, value))[1])
        label = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "color": INK, "fontsize": 9.5}
        axes.annotate(metric.show(value), (max(end, 0), place), **label)
        if metric.name in row.intervals:
            low, high = row.intervals[metric.name]
            axes.plot([low, high], [place, place], color=INK, linewidth=1.2)
            most = max(most, high)
    axes.set_yticks(range(len(rows)), names)
    axes.set_xlabel(f"{metric.word} ({'higher' if metric.higher else 'lower'} is better)")
    axes.set_xlim(min(0, *values), most * 1.18 if most > 0 else 0.01)
    axes.grid(False)
    return figure


@rc_context(STYLE)
def overlaid(runs: list[tuple[str, list[dict[str, Any]]]], metric: str) -> Figure | None:
    """One metric of several runs: what is held out where there is such, else what was trained on."""
    figure, axes = new_figure(height=2.9)
    held_out = any(HELD_OUT + metric in record for _, history in runs for record in history)
    for i, (name, history) in enumerate(runs):
        epochs, values = series(history, HELD_OUT + metric if held_out else metric)
        if values:
            axes.plot(epochs, values, line(i), markersize=3, color=SERIES[i % len(SERIES)], label=name)
    if not axes.lines:
        return None
    axes.set(xlabel="epoch", ylabel=f"{word(metric)}, {'held-out' if held_out else 'training'} data")
    count_epochs(axes, [x for _, history in runs for x in series(history, metric)[0]])
    legend(figure, [axes])
    return figure


def count_epochs(axes: Any, epochs: list[float]) -> None:
    """Whole numbers below, a single one too."""
    if len(set(epochs)) == 1:
        axes.set_xticks(epochs[:1])
    else:
        axes.xaxis.get_major_locator().set_params(integer=True)


def line(i: int) -> str:
    """How the i-th of several lines is drawn, so that they differ without colours too."""
    return ("o-", "s--", "^-.", "D:", "v-", "P--")[i % 6]
