"""What every picture shares: size, colours that follow the page's theme, and how it becomes SVG text."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable
from itertools import accumulate, pairwise
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

# Each colour stands for a variable of the page (see templates/style.css.j2); on its own the picture has these.
BLUE, ORANGE, GREEN, PURPLE, PINK, TEAL = "#0b5fd1", "#b34700", "#1a7a35", "#7c4ad6", "#b8327f", "#0d7480"
GREY, INK, RULE, PAPER = "#5c6470", "#1f2329", "#d5dae0", "#fefefe"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, PINK, TEAL)
VARIABLES = {
    **{colour: f"--series-{i}" for i, colour in enumerate(SERIES, 1)},
    GREY: "--muted",
    INK: "--ink",
    RULE: "--rule",
    PAPER: "--paper",
}
WIDTH = 5.2  # inches, 374 points: its letters stay readable on a telephone
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "legend.frameon": False,
    "axes.unicode_minus": True,
}


def new_figure(height: float = 2.7) -> tuple[Figure, Any]:
    """An empty figure of the width of a page, and its axes; `height` in inches."""
    figure, axes = new_grid(1, 1, height)
    return figure, axes[0]


def new_grid(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Any]]:
    """A figure of several axes, given row by row; `height` in inches, of all together."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, linewidth=0.6)
        one.set_axisbelow(True)
    return figure, list(axes.flat)


def legend(figure: Figure, axes: Iterable[Any]) -> None:
    """One legend above all axes, each label once, in as many columns as have room."""
    found: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = _columns([len(label) for label in found])
        rows = math.ceil(len(found) / columns)
        figure.set_figheight(figure.get_figheight() + 0.19 * max(rows - 2, 0))
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside upper left",
            ncols=columns,
            labelcolor=INK,
            fontsize=9.5,
            frameon=False,
        )


def _columns(letters: list[int]) -> int:
    """How many entries of so many letters stand side by side; a legend fills its columns from above."""
    for count in range(len(letters), 1, -1):
        tall, short = len(letters) % count, len(letters) // count  # so many columns have one entry more
        ends = list(accumulate([0] + [short + 1] * tall + [short] * (count - tall)))
        widths = [max(letters[low:high]) for low, high in pairwise(ends)]
        if sum(38 + 5.7 * width for width in widths) <= 72 * WIDTH:
            return count
    return 1


def short(name: str, letters: int = 22) -> str:
    """The end of a long name."""
    return name if len(name) <= letters else "…" + name[1 - letters :]


def guide(axes: Any, y: float, text: str, left: bool = False) -> None:
    """A dashed line across at `y`, and what it means, at its right or `left` end."""
    axes.axhline(y, color=INK, linestyle=(0, (5, 3)), linewidth=1)
    axes.annotate(
        text,
        (0 if left else 1, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(2 if left else -2, 3),
        textcoords="offset points",
        ha="left" if left else "right",
        color=INK,
        fontsize=9.5,
    )


def logarithmic(axes: Any, floor: float = 1e-300) -> None:
    """A logarithmic y axis: its labels are powers of ten, or 1, 2 and 5 where it is short; nothing under `floor`."""
    limits = [one.dataLim for one in axes.get_shared_y_axes().get_siblings(axes)]
    low = max(min(float(limit.minposy) for limit in limits), floor)
    high = max(*(float(limit.y1) for limit in limits), low)
    if not math.isfinite(low):
        low, high = 0.1, 1.0
    margin = max((high / low) ** 0.06, 1.0) if high > 3 * low else 1.8
    low, high = low / margin, high * margin
    axes.set_ylim(low, high)  # before the scale: one of logarithms cannot start below 0
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    if high < 200 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 40 * low else (1, 3)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def to_svg(figure: Figure, name: str = "figure") -> str:
    """The drawing as an inline SVG element that follows the page's theme; the same figure gives the same text.

    `name` goes before the ids inside, so that several drawings stand on one page.
    """
    file = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = file.getvalue()
    return themed(own_ids(compact(text[text.index("<svg") :]), name))


def compact(svg: str) -> str:
    """The drawing with places in hundredths of a point, without indentation and turns by nothing; text as it is."""
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r' (?:d|x|y|width|height|points|transform)="[^"]*"', lambda places: _hundredths(places[0]), svg)
    return re.sub(r"\n\s+", "\n", svg)


def _hundredths(places: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}(?!\w)", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), places)


def own_ids(svg: str, name: str) -> str:
    """The drawing with `name-` before each id that something refers to; other ids, comments, and rules of style, which
    would be the whole page's, are left out."""
    svg = re.sub(r"<!--.*?-->\s*|<(metadata|style)\b.*?</\1>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:xlink:href="#|url\(#|\shref="#)([^")]+)', svg))
    svg = re.sub(r'\s+id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", svg)


def themed(svg: str) -> str:
    """Colours as the page's variables, the page's font, the size left to the page."""
    for colour, variable in VARIABLES.items():
        svg = re.sub(rf"((?:fill|stroke): ?){colour}", rf"\g<1>var({variable}, {colour})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    head, rest = svg[: svg.index(">")], svg[svg.index(">") :]
    if "font-family" not in head:
        head = re.sub(r' (?:width|height)="[^"]*"', "", head) + ' font-family="system-ui, sans-serif"'
    return head + rest
