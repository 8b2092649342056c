"""The pictures of the documentation.

`python docs/figures.py [folder]` draws them all, into docs/images by default. Curves
are measured with the library as the script runs; what was measured stands in the SVG's
description as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from rondeau import activations, initializers, scan
from rondeau.cells import Cell, LSTMCell, SimpleRNNCell

HERE = Path(__file__).parent / "images"
INPUT, STATE, OUTPUT, PLAIN = "#cfe3f7", "#d9efd2", "#fbe0c3", "#eeeeee"
LINES = ["#1f5fa8", "#c1440e", "#3a7d2c", "#7b4aa1", "#777777"]
STYLE = {
    "svg.hashsalt": "rondeau",  # names inside the file do not change from run to run
    "svg.fonttype": "path",  # looks the same wherever it is seen
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=LINES),
    "legend.frameon": False,
}
Numbers = dict[str, list[float]]


# Diagrams


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with units alike in both directions: boxes keep their proportions."""
    figure = Figure(figsize=(width * 0.55, height * 0.55))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def _box(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    width: float = 1.2,
    height: float = 0.8,
) -> None:
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(
            corner,
            width,
            height,
            style,
            facecolor=colour,
            edgecolor="#444444",
            zorder=3,
        )
    )
    axes.text(x, y, text, ha="center", va="center", zorder=4)


def _arrow(
    axes: Axes, *points: tuple[float, float], head: bool = True, label: str = ""
) -> None:
    """A line through the points, a head at the last, a label beside its middle."""
    for start, end in pairwise(points):
        last = end == points[-1]
        style = "-|>" if head and last else "-"
        look: dict[str, Any] = {
            "arrowstyle": style,
            "mutation_scale": 11,
            "linewidth": 1.1,
            "color": "#444444",
        }
        axes.add_patch(
            FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, zorder=2, **look)
        )
    if label:
        (x0, y0), (x1, y1) = points[-2:]
        flat = abs(y1 - y0) < abs(x1 - x0)
        axes.text(
            (x0 + x1) / 2 + (0 if flat else 0.12),
            (y0 + y1) / 2 + (0.12 if flat else 0),
            label,
            ha="center" if flat else "left",
            va="bottom" if flat else "center",
        )


def unrolling() -> tuple[Figure, Numbers]:
    """One cell with a loop, and the same cell once for each step."""
    figure, axes = _canvas(13.2, 4.3)
    _box(axes, 1.3, 0.55, "$x_t$", INPUT)
    _box(axes, 1.3, 2.1, "cell", STATE)
    _box(axes, 1.3, 3.65, "$y_t$", OUTPUT)
    _arrow(axes, (1.3, 0.95), (1.3, 1.7), label="$W$")
    _arrow(axes, (1.3, 2.5), (1.3, 3.25))
    _arrow(axes, (1.9, 2.3), (2.5, 2.3), (2.5, 1.9), (1.9, 1.9))
    axes.text(2.6, 2.1, "$U$", va="center")
    axes.text(3.6, 2.1, "=", fontsize=18, ha="center", va="center")
    _arrow(axes, (4.3, 2.1), (5.3, 2.1), label="$h_0$")
    for t, x in enumerate((5.9, 8.3, 10.7), start=1):
        _box(axes, x, 0.55, f"$x_{t}$", INPUT)
        _box(axes, x, 2.1, "cell", STATE)
        _box(axes, x, 3.65, f"$y_{t}$", OUTPUT)
        _arrow(axes, (x, 0.95), (x, 1.7), label="$W$")
        _arrow(axes, (x, 2.5), (x, 3.25))
        _arrow(
            axes,
            (x + 0.6, 2.1),
            (x + 1.8, 2.1),
            label=f"$h_{t},\\ U$" if t < 3 else "$h_3$",
        )
    axes.text(12.85, 2.1, "…", ha="center", va="center")
    return figure, {}


def shapes() -> tuple[Figure, Numbers]:
    """The four shapes, the last in its two kinds."""
    figure, axes = _canvas(17.4, 4.9)
    inputs, states, outputs = 1.6, 3.0, 4.4
    for y, word in ((inputs, "inputs"), (states, "state"), (outputs, "outputs")):
        axes.text(0.2, y, word, va="center", color="#555555")
    kinds: list[tuple[str, int, list[int], list[int]]] = [
        ("one to one", 1, [0], [0]),
        ("one to many", 3, [0], [0, 1, 2]),
        ("many to one", 3, [0, 1, 2], [2]),
        ("many to many,\nequal length", 3, [0, 1, 2], [0, 1, 2]),
        ("many to many,\nother length", 5, [0, 1, 2], [3, 4]),
    ]
    left = 2.1
    for title, steps, given, made in kinds:
        places = [left + 0.92 * i for i in range(steps)]
        for i, x in enumerate(places):
            _box(axes, x, states, "", STATE if steps > 1 else PLAIN, 0.55, 0.75)
            if i:
                _arrow(axes, (places[i - 1] + 0.275, states), (x - 0.275, states))
            if i in given:
                _box(axes, x, inputs, "", INPUT, 0.55, 0.75)
                _arrow(axes, (x, inputs + 0.375), (x, states - 0.375))
            if i in made:
                _box(axes, x, outputs, "", OUTPUT, 0.55, 0.75)
                _arrow(axes, (x, states + 0.375), (x, outputs - 0.375))
        axes.text(
            (places[0] + places[-1]) / 2,
            1.0,
            title,
            ha="center",
            va="top",
            linespacing=1.3,
        )
        left = places[-1] + 1.35
    return figure, {}


def lstm() -> tuple[Figure, Numbers]:
    """One step of an LSTM: the memory runs along the top, the gates reach into it."""
    figure, axes = _canvas(13.8, 5.9)
    axes.add_patch(
        FancyBboxPatch(
            (1.75, 1.05),
            9.6,
            4.45,
            boxstyle="round,pad=0,rounding_size=0.2",
            facecolor="#fafafa",
            edgecolor="#999999",
        )
    )
    top, gates, bottom = 4.9, 2.55, 1.45
    columns = {"f": 3.0, "i": 4.9, "g": 6.4, "o": 8.2}
    _arrow(axes, (0.75, top), (2.72, top))
    _arrow(axes, (3.28, top), (5.37, top))
    _arrow(axes, (5.93, top), (12.35, top))
    _arrow(axes, (0.75, bottom), (columns["o"], bottom), head=False)
    _arrow(axes, (2.35, 0.45), (2.35, bottom), head=False)
    for name, x in columns.items():
        text = "$\\tanh$" if name == "g" else "$\\sigma$"
        _box(axes, x, gates, text, OUTPUT if name == "g" else STATE, 1.0, 0.65)
        _arrow(axes, (x, bottom), (x, gates - 0.325))
        axes.text(x + 0.12, gates + 0.55, f"${name}$", va="center")
    _sign(axes, 3.0, top, "×")
    _sign(axes, 5.65, top, "+")
    _sign(axes, 5.65, 3.85, "×")
    _arrow(axes, (3.0, gates + 0.325), (3.0, top - 0.28))
    _arrow(axes, (4.9, gates + 0.325), (4.9, 3.85), (5.37, 3.85))
    _arrow(axes, (6.4, gates + 0.325), (6.4, 3.85), (5.93, 3.85))
    _arrow(axes, (5.65, 4.13), (5.65, top - 0.28))
    _box(axes, 10.0, 3.95, "$\\tanh$", OUTPUT, 1.0, 0.65)
    _arrow(axes, (10.0, top), (10.0, 4.275))
    _sign(axes, 10.0, gates, "×")
    _arrow(axes, (10.0, 3.625), (10.0, gates + 0.28))
    _arrow(axes, (8.7, gates), (9.72, gates))
    _arrow(axes, (10.0, gates - 0.28), (10.0, bottom), (12.35, bottom))
    for x, y, text in (
        (0.4, top, "$c_{t-1}$"),
        (0.4, bottom, "$h_{t-1}$"),
        (12.75, top, "$c_t$"),
        (12.9, bottom, "$h_t = y_t$"),
        (2.35, 0.2, "$x_t$"),
    ):
        axes.text(x, y, text, ha="center", va="center", fontsize=12)
    return figure, {}


def _sign(axes: Axes, x: float, y: float, text: str) -> None:
    axes.add_patch(
        Circle((x, y), 0.28, facecolor="white", edgecolor="#444444", zorder=3)
    )
    axes.text(x, y, text, ha="center", va="center_baseline", fontsize=12, zorder=4)


# Measurements


def activation_curves() -> tuple[Figure, Numbers]:
    """Three activations and their derivatives, these by autograd."""
    x = torch.linspace(-5, 5, 201, dtype=torch.float64, requires_grad=True)
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers: Numbers = {}
    for name in ("sigmoid", "tanh", "relu"):
        y = activations.get(name)(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        left.plot(x.detach(), y.detach(), label=name)
        right.plot(x.detach(), slope)
        numbers[f"largest slope of {name}"] = [float(slope.max())]
    left.set(title="f(x)", xlabel="x", ylim=(-1.2, 2.2))
    right.set(title="f′(x)", xlabel="x", ylim=(-0.05, 1.1))
    left.legend(loc="upper left")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure, numbers


def gradient_norm(cell: Cell, x: torch.Tensor, t: int) -> float:
    """Of the loss, the sum of the last output, to the state after t steps."""
    _, state = scan(cell, x[:, :t])
    state = type(state)(*(part.detach().requires_grad_() for part in state))
    outputs, _ = scan(cell, x[:, t:], state)
    return float(
        torch.cat(torch.autograd.grad(outputs[:, -1].sum(), tuple(state)), -1).norm()
    )


def gradient_curves() -> tuple[Figure, Numbers]:
    """How far back a gradient reaches: in simple networks, and in LSTMs."""
    torch.manual_seed(0)  # the numbers are those of the page
    x = torch.randn(1, 50, 8, dtype=torch.float64)
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axes = figure.subplots()
    numbers: Numbers = {}
    places = range(0, 50, 7)
    for gain in (0.5, 1.0, 4.0):
        kernel = initializers.Orthogonal(gain=gain)
        simple = SimpleRNNCell(32, recurrent_initializer=kernel).double()
        norms = [gradient_norm(simple, x, t) for t in places]
        numbers[f"SimpleRNN, norm {gain}"] = norms
    torch.manual_seed(1)
    for bias in (1.0, 5.0):
        memory = _lstm(bias).double()
        norms = [gradient_norm(memory, x, t) for t in places]
        numbers[f"LSTM, forget bias {bias}"] = norms
    for name, norms in numbers.items():
        axes.semilogy(
            places, norms, "o--" if "LSTM" in name else "o-", ms=3, label=name
        )
    axes.set(xlabel="step t", ylabel="‖∂L/∂state$_t$‖")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center")
    return figure, numbers


def _lstm(bias: float) -> LSTMCell:
    cell = LSTMCell(32)
    cell.build_for(8)
    with torch.no_grad():
        cell.bias[cell.units : 2 * cell.units] = bias
    return cell


FIGURES: dict[str, Callable[[], tuple[Figure, Numbers]]] = {
    "unrolling": unrolling,
    "shapes": shapes,
    "activations": activation_curves,
    "gradients": gradient_curves,
    "lstm": lstm,
}


def draw(folder: Path, kind: str = "svg") -> None:
    """All figures into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FIGURES.items():
        with mpl.rc_context(STYLE):
            figure, numbers = make()
            about = (
                {"Date": None, "Creator": None, "Description": json.dumps(numbers)}
                if kind == "svg"
                else None
            )
            figure.savefig(folder / f"{name}.{kind}", metadata=about, facecolor="white")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
