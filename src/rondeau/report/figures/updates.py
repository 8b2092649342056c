"""Gradient norms, clipping, and how large updates are beside the weights they change."""

from __future__ import annotations

import math

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.insight.records import Sample
from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, STYLE, guide, legend, logarithmic, new_figure, short
from rondeau.report.figures.thin import peaks

MOST = 24  # parameters in one picture


@rc_context(STYLE)
def gradient_norm(samples: list[Sample]) -> Figure | None:
    """The norm of all gradients together over the updates, the limit, and which were clipped; of many, the highest."""
    points = [s for s in samples if s.gradient is not None and math.isfinite(s.gradient) and s.gradient > 0]
    if not points:
        return None
    points = peaks(points, lambda sample: sample.gradient or 0.0)
    figure, axes = new_figure(2.4)
    axes.plot([s.step for s in points], [s.gradient for s in points], "-", color=GREY, linewidth=1)
    for chosen, style, colour, label in (
        ([s for s in points if not s.clipped], "o", BLUE, "left as it is"),
        ([s for s in points if s.clipped], "^", ORANGE, "clipped"),
    ):
        if chosen:
            xs, ys = [s.step for s in chosen], [s.gradient for s in chosen]
            axes.plot(xs, ys, style, color=colour, markersize=4, label=label)
    axes.set(xlabel="update", ylabel="gradient norm")
    limit = points[-1].clip
    if limit is not None:
        guide(axes, limit, f"limit {limit:g}")
    axes.margins(y=0.15)
    logarithmic(axes)
    legend(figure, [axes])
    return figure


def ratios(samples: list[Sample]) -> dict[str, list[float]]:
    """Each parameter's update-to-weight ratios, in order, those left out that are unknown, zero or not finite."""
    found: dict[str, list[float]] = {}
    for sample in samples:
        for weight in sample.weights:
            ratio = weight.ratio
            if ratio is not None and ratio > 0 and math.isfinite(ratio):
                found.setdefault(weight.name, []).append(ratio)
    return found


@rc_context(STYLE)
def update_ratios(samples: list[Sample]) -> Figure | None:
    """Each parameter's update-to-weight ratio: its range over the training and where it is now."""
    found = ratios(samples)
    if not found:
        return None
    names = list(found)
    if len(names) > MOST:
        order = sorted(names, key=lambda name: found[name][-1])
        extreme = {*order[: MOST // 2], *order[-MOST // 2 :]}
        names = [name for name in names if name in extreme]
    figure, axes = new_figure(0.8 + 0.23 * len(names))
    rows = range(len(names))[::-1]
    axes.axvspan(1e-4, 1e-2, color=GREY, alpha=0.14, linewidth=0)
    axes.axvline(1e-3, color=INK, linestyle=(0, (5, 3)), linewidth=1)
    axes.hlines(rows, [min(found[n]) for n in names], [max(found[n]) for n in names], color=GREY, linewidth=2)
    axes.plot([found[n][0] for n in names], rows, "|", color=INK, markersize=8, label="first")
    axes.plot([found[n][-1] for n in names], rows, "o", color=BLUE, markersize=5, label="last")
    axes.set_yticks(rows, [short(name, 26) for name in names])
    axes.set(xscale="log", xlabel="update ÷ weight (dashed: one in a thousand)")
    axes.grid(False, axis="y")
    axes.margins(y=0.06)
    legend(figure, [axes])
    return figure
