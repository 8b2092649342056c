"""Pictures of a run, as SVG text."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#1f6feb", "#d1610a", "#8a8f98"


def learning_curves(history: list[dict[str, Any]]) -> str:
    """Bits per character on the training and the validation text after each epoch."""
    figure, axes = _figure()
    epochs = [record["epoch"] for record in history]
    for key, label, colour in (
        ("bits_per_character", "training text, during the epoch", GREY),
        ("val_bits_per_character", "validation text, after it", BLUE),
    ):
        axes.plot(epochs, [record[key] for record in history], "o-", markersize=3, color=colour, label=label)
    best = min(history, key=lambda record: record["val_bits_per_character"])
    axes.annotate(
        f"best {best['val_bits_per_character']:.3f}",
        (best["epoch"], best["val_bits_per_character"]),
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        color=BLUE,
    )
    axes.set(xlabel="epoch", ylabel="bits per character")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.15)
    axes.legend(frameon=False)
    return _svg(figure)


def comparison(rows: list[dict[str, Any]]) -> str:
    """Bits per character of each model, a bar each; the last row is the recurrent one."""
    figure, axes = _figure(height=0.5 + 0.45 * len(rows))
    names = [row["name"] for row in rows][::-1]
    values = [row["bits_per_character"] for row in rows][::-1]
    bars = axes.barh(names, values, color=[BLUE] + [GREY] * (len(rows) - 1), height=0.6)
    axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=4)
    axes.set_xlabel("bits per character on held-out text (lower is better)")
    axes.set_xlim(0, max(values) * 1.12)
    return _svg(figure)


def _figure(height: float = 3.2) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors="#444c56")
    return figure, axes


def _svg(figure: Figure) -> str:
    """The drawing as an inline SVG element; the same figure gives the same text."""
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "rondeau"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
