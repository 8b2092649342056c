"""What gates and states do: how their values spread, what is saturated, dead or stuck, how long a unit remembers."""

from __future__ import annotations

import math
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.insight.records import Sample, ScanSample, Values
from rondeau.report.figures.curves import line
from rondeau.report.figures.drawing import BLUE, INK, STYLE, legend, logarithmic, new_grid, short
from rondeau.report.figures.flow import of_scan, scan_names, stages
from rondeau.report.figures.thin import look, thin


@rc_context(STYLE)
def histograms(samples: list[Sample], name: str) -> Figure | None:
    """How the values of one scan's gates and states spread, at the beginning of what was measured and at its end."""
    moments = stages(samples, name)
    parts = _parts(moments[-1][1])
    if not parts:
        return None
    columns = min(3, len(parts))
    rows = math.ceil(len(parts) / columns)
    figure, axes = new_grid(rows, columns, 0.5 + 1.25 * rows, sharey=False)
    for one, title in zip(axes, parts, strict=False):
        for i, (stage, scan) in enumerate(moments):
            late = i == len(moments) - 1
            values = _parts(scan).get(title)
            if values is not None:
                _histogram(one, values, stage, late)
        one.set_title(title)
        one.set_yticks([])
        one.grid(False)
        one.spines["left"].set_visible(False)
    for one in axes[len(parts) :]:
        one.set_visible(False)
    legend(figure, axes)
    return figure


def _parts(scan: ScanSample) -> dict[str, Values]:
    states = {f"state {part}": values for part, values in scan.states.items()}
    return {**{_short(gate): values for gate, values in scan.gates.items()}, **states}


def _short(gate: str) -> str:
    """`forget_gate` as `forget`: that it is a gate stands beside it."""
    return gate.removesuffix("_gate").replace("_", " ")


def _histogram(axes: Any, values: Values, label: str, late: bool) -> None:
    count = len(values.histogram)
    width = (values.high - values.low) / count
    edges = [values.low + i * width for i in range(count + 1)]
    shares = [share if math.isfinite(share) else 0.0 for share in values.histogram]
    if late:
        axes.stairs(shares, edges, fill=True, color=BLUE, alpha=0.55, label=label)
    else:
        axes.stairs(shares, edges, color=INK, linewidth=1.1, linestyle=(0, (3, 1.5)), label=label)
    axes.set_xlim(values.low, values.high)


@rc_context(STYLE)
def saturation(samples: list[Sample], name: str) -> Figure | None:
    """Shares of one scan's gate values that are nearly closed or open, over the training."""
    found = of_scan(thin(samples), name)
    gates = list(dict.fromkeys(gate for _, scan in found for gate in scan.gates))
    if not gates:
        return None
    figure, axes = new_grid(1, 2, 2.3, sharey=True)
    for i, gate in enumerate(gates):
        points = [(sample.step, scan.gates[gate]) for sample, scan in found if gate in scan.gates]
        steps = [x for x, _ in points]
        for one, shares in ((axes[0], [v.at_low for _, v in points]), (axes[1], [v.at_high for _, v in points])):
            one.plot(steps, _percent(shares), line(i), label=_short(gate), **look(i, len(points)))
    axes[0].set(title="at the lower end", ylabel="% of values", xlabel="update", ylim=(0, 100))
    axes[1].set(title="at the upper end", xlabel="update")
    legend(figure, axes)
    return figure


@rc_context(STYLE)
def time_constants(samples: list[Sample]) -> Figure | None:
    """How long the units with a forget gate remember: quantiles over units, over the training, for each scan."""
    names = [n for n in scan_names(samples) if any(scan.time_constants for _, scan in of_scan(samples, n))]
    if not names:
        return None
    columns = 1 if len(names) == 1 else 2
    rows = math.ceil(len(names) / columns)
    figure, axes = new_grid(rows, columns, 0.5 + 1.8 * rows, sharey=True)
    for i, (one, name) in enumerate(zip(axes, names, strict=False)):
        found = of_scan(thin(samples), name)
        points = [(sample.step, scan.time_constants) for sample, scan in found if scan.time_constants]
        steps, columns_of = [x for x, _ in points], list(zip(*(q for _, q in points), strict=True))
        quantiles = [[_drawn(v) for v in column] for column in columns_of]
        one.fill_between(steps, quantiles[1], quantiles[5], color=BLUE, alpha=0.18, linewidth=0, label="10 to 90 %")
        one.fill_between(steps, quantiles[2], quantiles[4], color=BLUE, alpha=0.35, linewidth=0, label="25 to 75 %")
        one.plot(steps, quantiles[3], "o-", label="median unit", **look(0, len(points)))
        one.plot(steps, quantiles[6], ":", color=INK, label="longest")
        one.set(title=short(name), xlabel="update")
        if i % columns == 0:
            one.set_ylabel("time constant, steps")
    for one in axes[: len(names)]:
        logarithmic(one)
    for one in axes[len(names) :]:
        one.set_visible(False)
    legend(figure, axes[: len(names)])
    return figure


def _drawn(value: float) -> float:
    return min(max(value, 0.1), 1e6) if not math.isnan(value) else math.nan


@rc_context(STYLE)
def states(samples: list[Sample], name: str) -> Figure | None:
    """Shares of one scan's state that are saturated, and of its units that are dead or stuck, over the training."""
    found = of_scan(thin(samples), name)
    parts = list(dict.fromkeys(part for _, scan in found for part in scan.states))
    if not parts:
        return None
    columns = min(2, len(parts))
    rows = math.ceil(len(parts) / columns)
    figure, axes = new_grid(rows, columns, 0.5 + 1.8 * rows, sharey=True)
    for i, (one, part) in enumerate(zip(axes, parts, strict=False)):
        points = [(sample.step, scan.states[part]) for sample, scan in found if part in scan.states]
        steps = [x for x, _ in points]
        for j, (label, values) in enumerate(
            (
                ("saturated values", [v.at_low + v.at_high for _, v in points]),
                ("dead units", [v.dead for _, v in points]),
                ("stuck units", [v.stuck for _, v in points]),
            )
        ):
            one.plot(steps, _percent(values), line(j), label=label, **look(j, len(points)))
        one.set(title=f"state {part}", xlabel="update", ylim=(-2, 102))
        if i % columns == 0:
            one.set_ylabel("%")
    for one in axes[len(parts) :]:
        one.set_visible(False)
    legend(figure, axes[: len(parts)])
    return figure


def _percent(shares: list[float]) -> list[float]:
    return [100 * share for share in shares]
