"""Forecasts beside what came: history, truth, the middle of the forecast, and the bands it should lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, STYLE, guide, legend, new_grid, short

_TICKS = 4  # stamps written under an axis, of those with a time of day one less
_DAY = 10  # letters of a stamp that is a day


@rc_context(STYLE)
def forecasts(examples: list[dict[str, Any]], target: str) -> Figure | None:
    """Each example on axes of its own, one below the other: see `rondeau.tasks.forecasting.findings`."""
    if not examples:
        return None
    figure, axes = new_grid(len(examples), 1, 0.5 + 1.75 * len(examples))
    for one, example in zip(axes, examples, strict=True):
        _example(one, example, target)
    legend(figure, axes)
    return figure


def _example(axes: Any, example: dict[str, Any], target: str) -> None:
    past, ahead = len(example["history"]), len(example["median"])
    after = np.arange(past, past + ahead)
    has_bands = "low_80" in example and example["low_80"] != example["high_80"]
    if has_bands:
        for name, opacity, label in (("80", 0.18, "80 % interval"), ("50", 0.35, "50 % interval")):
            low, high = _numbers(example[f"low_{name}"]), _numbers(example[f"high_{name}"])
            axes.fill_between(after, low, high, color=BLUE, alpha=opacity, linewidth=0, label=label)
    before = _numbers(example["history"])
    axes.plot(np.arange(past), before, color=GREY, linewidth=1.2, label="read")
    truth = _numbers(example["truth"])
    joined = np.concatenate([before[-1:], truth]) if past else truth
    axes.plot(np.arange(past - bool(past), past + len(truth)), joined, color=INK, linewidth=1.2, label="came")
    axes.plot(after, _numbers(example["median"]), "--", color=ORANGE, linewidth=1.5, label="forecast (median)")
    axes.axvline(past - 0.5, color=GREY, linewidth=0.8)
    axes.set_title(short(str(example["series"]), 60))
    axes.set_ylabel(short(target, 16))
    _stamped(axes, example["stamps"])
    axes.margins(x=0.01)


def _stamped(axes: Any, stamps: list[Any]) -> None:
    """A few stamps under the axis, so that none touches the next."""
    words = [str(stamp).replace("T", " ").removesuffix(":00") for stamp in stamps]
    most = _TICKS if max(map(len, words)) <= _DAY else _TICKS - 1
    places = np.unique(np.linspace(0, len(stamps) - 1, min(most, len(stamps))).round().astype(int))
    axes.set_xticks(places, [words[i] for i in places])
    labels = axes.get_xticklabels()
    if len(labels) > 1:
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")


def _numbers(values: list[float | None]) -> Any:
    return np.asarray([np.nan if value is None else value for value in values], np.float64)


@rc_context(STYLE)
def by_step(steps: list[dict[str, float]], target: str) -> Figure | None:
    """The mean absolute error so many steps ahead, and how often the truth lay in the 80 % interval."""
    if len(steps) < 2:
        return None
    ahead = [one["step"] for one in steps]
    covered = [one["covered"] for one in steps]
    bands = any(covered)
    figure, (above, *below) = new_grid(1, 2 if bands else 1, 2.3)
    above.plot(ahead, [one["error"] for one in steps], "o-", color=BLUE, markersize=3)
    above.set(xlabel="steps ahead", ylabel=f"mean error ({short(target, 14)})")
    above.set_ylim(0, 1.15 * max(one["error"] for one in steps) or 1)
    for one in below:
        one.plot(ahead, [100 * share for share in covered], "o-", color=BLUE, markersize=3)
        one.set(xlabel="steps ahead", ylabel="in the 80 % interval (%)", ylim=(0, 105))
        guide(one, 80, "as it should be", left=True)
    for one in (above, *below):
        one.xaxis.get_major_locator().set_params(integer=True)
    return figure
