"""How a model learnt, and how it stands beside others."""

from __future__ import annotations

from typing import Any

from rondeau.report.figures.drawing import BLUE, GREY, new_figure, to_svg


def learning_curves(history: list[dict[str, Any]]) -> str:
    """Bits per character on the training and the validation text after each epoch."""
    figure, axes = new_figure()
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
    return to_svg(figure)


def comparison(rows: list[dict[str, Any]]) -> str:
    """Bits per character of each model, a bar each; the last row is the recurrent one."""
    figure, axes = new_figure(height=0.5 + 0.45 * len(rows))
    names = [row["name"] for row in rows][::-1]
    values = [row["bits_per_character"] for row in rows][::-1]
    bars = axes.barh(names, values, color=[BLUE] + [GREY] * (len(rows) - 1), height=0.6)
    axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=4)
    axes.set_xlabel("bits per character on held-out text (lower is better)")
    axes.set_xlim(0, max(values) * 1.12)
    return to_svg(figure)
