"""How the run learnt, and what it is worth beside models that know less."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Table, drawn
from rondeau.report.figures.curves import best, comparison, learning_curves, metrics, series, word
from rondeau.tasks.record import RunRecord


def learning(record: RunRecord) -> Section | None:
    """Loss and metrics after each epoch."""
    history = record.history
    if not metrics(history):
        return None
    said = []
    for metric in metrics(history):
        low, values = best(history, metric), series(history, metric)[1]
        if low:
            said.append(f"{word(metric)} on held-out data is best after epoch {low[0]}, {low[1]:.4g}.")
        elif values:
            said.append(f"{word(metric)} goes from {values[0]:.4g} to {values[-1]:.4g}.")
    blocks = drawn(
        "curves",
        learning_curves(history),
        "Look at the gap between the lines: held-out data much worse and getting worse is overfitting (more data, "
        "dropout, fewer epochs); both still improving at the end means that training stopped early; both flat and poor "
        "means that the model is too small, or cannot see what it would need.",
        "Learning curves over epochs. " + " ".join(said),
    )
    return Section("learning", "Learning curves", blocks)


def baselines(record: RunRecord) -> Section | None:
    """The results beside the baselines'."""
    rows = record.rows
    if not rows:
        return None
    cells = [(row["name"], _count(row.get("parameters")), f"{row['bits_per_character']:.3f}") for row in rows]
    heads = ("model", "parameters", "bits per character")
    blocks: list[Block] = [Table("Results on the held-out text", heads, cells, frozenset({1, 2}), strong=len(rows) - 1)]
    blocks += drawn(
        "baselines",
        comparison(rows),
        "All models on the same held-out text. Look whether the recurrent one beats the feed-forward network of as "
        "many weights, which sees only the last tokens: if not, memory does not help here.",
        "Bits per character of each model. " + " ".join(f"{name}: {bits}." for name, _, bits in cells),
    )
    return Section("baselines", "Does it beat what knows less?", blocks)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
