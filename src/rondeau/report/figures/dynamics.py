"""A step as a map from one state to the next: singular values of its Jacobian, their product, Lyapunov exponents."""

from __future__ import annotations

import math

from matplotlib import rc_context
from matplotlib.figure import Figure

from rondeau.insight.records import Dynamics, Sample
from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, STYLE, legend, logarithmic, new_grid, short


def latest(samples: list[Sample]) -> tuple[int, list[Dynamics]] | None:
    """The step at which dynamics were measured last, and what was found; None where they never were."""
    return next(((sample.step, sample.dynamics) for sample in reversed(samples) if sample.dynamics), None)


@rc_context(STYLE)
def jacobian(one: Dynamics) -> Figure | None:
    """Singular values of the Jacobian at each step, and of its product over more and more steps."""
    if not one.largest and not one.products:
        return None
    figure, (left, right) = new_grid(1, 2, 2.5)
    for values, style, colour, label in (
        (one.largest, "-", BLUE, "largest"),
        (one.smallest, "--", ORANGE, "smallest"),
    ):
        pairs = [(i, v) for i, v in enumerate(values) if v > 0 and math.isfinite(v)]
        if pairs:
            left.plot(*zip(*pairs, strict=True), style, color=colour, label=label)
    left.set(title="one step", xlabel="step of the sequence", ylabel="singular value")
    pairs = [(x, y) for x, y in zip(one.spans, one.products, strict=False) if y > 0 and math.isfinite(y)]
    if pairs:
        right.plot(*zip(*pairs, strict=True), "o-", color=BLUE, markersize=3)
    right.set(title="product over k steps", xlabel="k", ylabel="largest singular value")
    for axes in (left, right):
        axes.axhline(1, color=INK, linestyle=(0, (5, 3)), linewidth=1)
        logarithmic(axes, 1e-12)
    legend(figure, [left])
    return figure


@rc_context(STYLE)
def exponents(found: list[Dynamics]) -> Figure | None:
    """Lyapunov exponents of each scan, falling."""
    drawn = [one for one in found if any(map(math.isfinite, one.exponents))]
    if not drawn:
        return None
    figure, (axes,) = new_grid(1, 1, 2.4)
    for i, one in enumerate(drawn):
        values = [v if math.isfinite(v) else math.nan for v in one.exponents]
        style, colour = (("o-", BLUE), ("s--", ORANGE), ("^:", GREY))[i % 3]
        axes.plot(range(1, len(values) + 1), values, style, color=colour, markersize=3, label=short(one.name, 30))
    axes.axhline(0, color=INK, linestyle=(0, (5, 3)), linewidth=1)
    axes.set(xlabel="exponent, the largest first", ylabel="nats a step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, [axes])
    return figure
