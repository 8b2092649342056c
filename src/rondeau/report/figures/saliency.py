"""What an answer rests on, drawn on the input itself: on a text as HTML, on a signal or series as a picture."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rondeau.insight import Saliency
from rondeau.report.figures.drawing import BLUE, GREY, INK, ORANGE, SERIES, legend, new_grid, to_svg

STRONGEST = 0.6  # opacity of the largest score's colour: the letters keep their contrast on it, in either theme
DRAWN = 2000  # steps of a series that are drawn one by one
SIGNS = {"\n": "↵\n", "\t": "⇥\t"}  # what has no shape of its own
_RGB = {1: (11, 95, 209), -1: (179, 71, 0)}  # blue and orange of the light page


def marked_text(tokens: Sequence[str], scores: Sequence[float], unit: str, first: int = 0) -> str:
    """Tokens on a ground as strong as their scores: blue above 0, orange and underlined below; all numbers beneath.

    Args:
        tokens: of the text, in order; scores: one for each.
        unit: of the scores, in words, such as "bits".
        first: the first token's place in the whole text.

    Returns HTML: the text, a legend, and a table of the numbers that opens on demand.
    """
    top = max((abs(score) for score in scores), default=0.0) or 1.0
    spans = [_span(token, score / top, score, unit) for token, score in zip(tokens, scores, strict=True)]
    signed = any(score < 0 for score in scores)
    return (
        f'<div class="marked">{"".join(spans)}</div>\n'
        f"{_legend(top, unit, signed)}\n"
        f"{_numbers(tokens, scores, unit, first)}\n"
    )


def _span(token: str, share: float, score: float, unit: str) -> str:
    shown = html.escape(SIGNS.get(token, token))
    opacity = STRONGEST * min(abs(share), 1.0)
    if opacity < 0.02:
        return shown
    sign = 1 if share > 0 else -1
    edge = "" if sign > 0 else ' class="against"'
    return f'<span{edge} style="{_ground(sign, opacity)}" title="{score:+.3g} {html.escape(unit)}">{shown}</span>'


def _ground(sign: int, opacity: float) -> str:
    red, green, blue = _RGB[sign]
    return f"background: rgba({red}, {green}, {blue}, {opacity:.2f})"


def _legend(top: float, unit: str, signed: bool) -> str:
    parts = [f'<span style="{_ground(1, STRONGEST)}">{top:+.2g} {html.escape(unit)}</span>', "0"]
    if signed:
        parts.append(f'<span class="against" style="{_ground(-1, STRONGEST)}">{-top:+.2g} {html.escape(unit)}</span>')
    return f'<p class="scale" aria-hidden="true">{" · ".join(parts)}</p>'


def _numbers(tokens: Sequence[str], scores: Sequence[float], unit: str, first: int) -> str:
    order = sorted(range(len(tokens)), key=lambda i: (-abs(scores[i]), i))
    rows = "".join(
        f'<tr><td class="number">{first + i:,}</td><td><code>{html.escape(visible(tokens[i]))}</code></td>'
        f'<td class="number">{scores[i]:+.3g}</td></tr>'
        for i in order
    )
    names = ("place", ' class="number"'), ("token", ""), (html.escape(unit), ' class="number"')
    heads = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in names)
    return (
        f"<details><summary>All {len(tokens)} numbers, the largest first</summary>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def visible(token: str) -> str:
    """A token as a label: white space and control characters as signs."""
    signs = {" ": "␣", "\n": "↵", "\t": "⇥"}
    return "".join(signs.get(c, c if c.isprintable() else "·") for c in token)


def marked_series(
    values: Any, scores: Sequence[float], unit: str, names: Sequence[str] | None = None, steps: str = "step"
) -> Figure:
    """A signal or series over its steps, on a ground as strong as their scores; beneath it the scores as bars.

    Args:
        values: `(steps,)`, or `(steps, channels)`, at most six of which are drawn.
        scores: one for each step; unit: theirs.
        names: of the channels.
        steps: what a step is, for the axis.

    Of more than 2000 steps the lowest and highest value of each stretch are drawn, and its largest score.
    """
    lines = np.asarray(values, np.float64)
    lines = lines[:, None] if lines.ndim == 1 else lines[:, : len(SERIES)]
    parts = np.asarray(scores, np.float64)
    end = len(lines) - 0.5
    places, lines = _envelope(lines)
    spots, parts = _strongest(parts)
    figure, (above, below) = new_grid(2, 1, 3.4, sharex=True, gridspec_kw={"height_ratios": [2, 1]})
    for channel in range(lines.shape[1]):
        label = names[channel] if names else f"channel {channel}"
        style = "o-" if len(lines) <= 40 else "-"
        colour = INK if lines.shape[1] == 1 else SERIES[channel]
        thin = 1.3 if len(lines) <= 1000 else 0.7
        above.plot(places, lines[:, channel], style, color=colour, markersize=3, linewidth=thin, label=label)
    above.set_ylim(*above.get_ylim())
    around = (-0.5, end, *above.get_ylim())
    above.imshow(_grounds(parts)[None], extent=around, aspect="auto", interpolation="none", zorder=0)
    if lines.shape[1] > 1:
        legend(figure, [above])
    for colour, shown in ((BLUE, np.maximum(parts, 0)), (ORANGE, np.minimum(parts, 0))):
        below.fill_between(spots, shown, step="mid", color=colour, linewidth=0.5)
    below.axhline(0, color=GREY, linewidth=0.8)
    below.set(xlabel=steps, ylabel=unit)
    below.xaxis.get_major_locator().set_params(integer=True)
    above.set_xlim(*around[:2])
    above.set_ylabel("value" if names is None or lines.shape[1] > 1 else names[0])
    return figure


def _stretches(steps: int) -> Any:
    """Where each of at most 2000 stretches begins."""
    return np.unique(np.linspace(0, steps, DRAWN, endpoint=False).astype(int))


def _envelope(lines: Any) -> tuple[Any, Any]:
    """Places, and values `(places, channels)`: all, or the lowest and the highest of each stretch."""
    if len(lines) <= DRAWN:
        return np.arange(len(lines)), lines
    begins = _stretches(len(lines))
    low, high = np.minimum.reduceat(lines, begins), np.maximum.reduceat(lines, begins)
    return np.repeat(begins, 2), np.stack([low, high], 1).reshape(-1, lines.shape[1])


def _strongest(scores: Any) -> tuple[Any, Any]:
    """Places and scores: all, or of each stretch the one of the largest magnitude."""
    if len(scores) <= DRAWN:
        return np.arange(len(scores)), scores
    begins = _stretches(len(scores))
    low, high = np.minimum.reduceat(scores, begins), np.maximum.reduceat(scores, begins)
    return begins, np.where(-low > high, low, high)


def _grounds(scores: Any) -> Any:
    """The colour behind each step, `(steps, 4)`."""
    top = np.abs(scores).max(initial=0.0) or 1.0
    grounds = np.empty((len(scores), 4))
    grounds[:, :3] = np.where(scores[:, None] > 0, _RGB[1], _RGB[-1]) / np.float64(255)
    grounds[:, 3] = STRONGEST * np.abs(scores) / top
    return grounds


def series_svg(values: Any, found: Saliency, names: Sequence[str] | None = None, steps: str = "step") -> str:
    """What `saliency` found for one row, drawn on its series as by `marked_series`: SVG text of its own."""
    return to_svg(marked_series(values, found.scores, found.target, names, steps), "saliency")
