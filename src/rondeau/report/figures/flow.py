"""How far back gradients reach, at a step and over the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.insight.records import Flow, Sample, ScanSample
from rondeau.report.figures.curves import line
from rondeau.report.figures.drawing import GREY, INK, SERIES, STYLE, guide, legend, logarithmic, new_grid, short
from rondeau.report.figures.thin import look, thin

FLOOR = 1e-7


def scan_names(samples: list[Sample]) -> list[str]:
    """The scans of all samples, in order of first appearance."""
    return list(dict.fromkeys(scan.name for sample in samples for scan in sample.scans))


def of_scan(samples: list[Sample], name: str) -> list[tuple[Sample, ScanSample]]:
    """Each sample that measured the scan, and what it measured."""
    return [(sample, scan) for sample in samples for scan in sample.scans if scan.name == name]


def stages(samples: list[Sample], name: str) -> list[tuple[str, ScanSample]]:
    """The scan at the beginning of what was measured and at its end, named by their steps."""
    found = of_scan(samples, name)
    chosen = found[:1] if len(found) == 1 else [found[0], found[-1]]
    return [(f"step {sample.step}", scan) for sample, scan in chosen]


def reached(scan: ScanSample) -> int:
    """Steps until less than 1 % of the gradient is left, or as many as were measured where more is left."""
    return scan.decay.reach if scan.decay.memory is None else scan.decay.memory


def relative(flow: Flow) -> list[float]:
    """The gradient of the last step's loss at each lag, as a share of that at the first; not finite where unknown."""
    first = flow.last[0] if flow.last else math.nan
    return [value / first if first else math.nan for value in flow.last]


def _grid(names: list[str], height: float = 2.2) -> tuple[Figure, list[Any]]:
    columns = 1 if len(names) == 1 else 2
    rows = math.ceil(len(names) / columns)
    figure, axes = new_grid(rows, columns, 0.6 + height * rows, sharey=True)
    for one in axes[len(names) :]:
        one.set_visible(False)
    for i, (one, name) in enumerate(zip(axes, names, strict=False)):
        one.set_title(short(name))
        one.yaxis.set_tick_params(labelleft=i % columns == 0)
    return figure, axes


def _drawable(ys: list[float]) -> list[float]:
    """What a logarithmic axis can show: what is not positive lies below the floor; what is not finite leaves a gap."""
    return [max(y, FLOOR / 100) for y in ys]


@rc_context(STYLE)
def gradient_flow(samples: list[Sample]) -> Figure | None:
    """The gradient of each row's last step against steps back, per scan and part of the state, early and late."""
    names = scan_names(samples)
    if not names:
        return None
    figure, axes = _grid(names)
    for one, name in zip(axes, names, strict=False):
        for i, (stage, scan) in enumerate(stages(samples, name)):
            for j, (part, flow) in enumerate(scan.flow.items()):
                one.plot(
                    flow.lags,
                    _drawable(relative(flow)),
                    (":", "-")[i if len(stages(samples, name)) > 1 else 1],
                    color=SERIES[j % len(SERIES)],
                    linewidth=1.4,
                    label=f"{part}, {stage}",
                )
        _cut(one, stages(samples, name)[-1][1])
        guide(one, 0.01, "1 %", left=2 * reached(scan) > scan.decay.reach)
    _label(axes, names, "share of the gradient")
    legend(figure, axes[: len(names)])
    return figure


@rc_context(STYLE)
def whole_loss(samples: list[Sample]) -> Figure | None:
    """The gradient of the whole loss by the state at each lag, per scan and part, at the end of what was measured."""
    names = scan_names(samples)
    if not names:
        return None
    figure, axes = _grid(names, 1.7)
    for one, name in zip(axes, names, strict=False):
        _, scan = stages(samples, name)[-1]
        for j, (part, flow) in enumerate(scan.flow.items()):
            one.plot(flow.lags, _drawable(flow.loss), color=SERIES[j % len(SERIES)], linewidth=1.4, label=part)
        _cut(one, scan)
    _label(axes, names, "‖∂L/∂s‖")
    legend(figure, axes[: len(names)])
    return figure


def _cut(axes: Any, scan: ScanSample) -> None:
    """A line where the gradient is cut, if what was measured comes near it."""
    if scan.cut is not None and any(flow.lags and flow.lags[-1] >= scan.cut - 1 for flow in scan.flow.values()):
        axes.axvline(scan.cut, color=GREY, linestyle="-.", linewidth=1.2, label="the window's cut")


def _label(axes: list[Any], names: list[str], label: str) -> None:
    columns = 1 if len(names) == 1 else 2
    for i, one in enumerate(axes[: len(names)]):
        logarithmic(one, FLOOR)
        one.set_xlabel("steps back")
        if i % columns == 0:
            one.set_ylabel(label)


@rc_context(STYLE)
def memory(samples: list[Sample]) -> Figure | None:
    """Steps until less than 1 % of the gradient is left, per scan, over the training."""
    figure = _over_training(samples, "effective memory, steps", reached)
    if figure is None:
        return None
    axes = figure.axes[0]
    for i, name in enumerate(scan_names(samples)):
        found = of_scan(samples, name)
        beyond = thin([(s.step, scan.decay.reach) for s, scan in found if scan.decay.memory is None], 24)
        if beyond:
            label = "more than was measured"
            axes.plot(*zip(*beyond, strict=True), "^", color=SERIES[i % len(SERIES)], markersize=7, label=label)
    median = samples[-1].lengths[1]
    guide(axes, median, f"median row: {median} steps")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    legend(figure, [axes])
    return figure


@rc_context(STYLE)
def decay(samples: list[Sample]) -> Figure | None:
    """The factor by which the gradient falls on each step back, per scan, over the training."""
    figure = _over_training(samples, "factor per step back", lambda scan: scan.decay.factor)
    if figure is not None:
        guide(figure.axes[0], 1.0, "1: neither vanishes nor explodes")
        figure.axes[0].margins(y=0.2)
        legend(figure, figure.axes)
    return figure


def _over_training(samples: list[Sample], label: str, value: Callable[[ScanSample], float | None]) -> Figure | None:
    figure, (axes,) = new_grid(1, 1, 2.5)
    for i, name in enumerate(scan_names(samples)):
        points = [(sample.step, value(scan)) for sample, scan in of_scan(samples, name)]
        good = thin([(x, y) for x, y in points if y is not None and math.isfinite(y)])
        if good:
            axes.plot(*zip(*good, strict=True), line(i), label=short(name, 30), **look(i, len(good)))
    if not axes.lines:
        return None
    axes.set(xlabel="update", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelcolor=INK)
    return figure
