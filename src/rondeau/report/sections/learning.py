"""How the run learnt, and what it is worth beside models that know less."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Table, Text, drawn
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
    results = record.results
    if results is None:
        return None
    shown = [metric for metric in results.metrics if any(metric.name in row.scores for row in results.rows)]
    cells = [
        (
            row.name,
            _count(row.parameters),
            *(metric.show_with(row.scores.get(metric.name), row.intervals.get(metric.name)) for metric in shown),
        )
        for row in results.rows
    ]
    heads = ("model", "parameters", *(metric.word for metric in shown))
    caption = f"Results on {results.where}"
    if any(row.intervals for row in results.rows):
        caption += "; in brackets the 95 % interval over test examples drawn anew (bootstrap)"
    blocks: list[Block] = [Table(caption, heads, cells, frozenset(range(1, len(heads))), strong=len(cells) - 1)]
    blocks += [Text(note) for note in results.notes]
    metric = results.metric
    figures = " ".join(f"{row.name}: {metric.show(row.scores.get(metric.name))}." for row in results.rows)
    blocks += drawn(
        "baselines",
        comparison(results),
        "All models on the same held-out data. Look whether the recurrent one beats those that see less, or no order "
        "at all: if not, memory does not help here.",
        f"{metric.word[0].upper()}{metric.word[1:]} of each model. {figures}",
    )
    return Section("baselines", "Does it beat what knows less?", blocks)


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
