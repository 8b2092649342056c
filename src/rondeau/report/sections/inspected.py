"""What `rondeau inspect` has written: how each entry of `inspect.json` becomes a section."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rondeau.report.blocks import Block, Heading, Section, Table, embedded
from rondeau.tasks.record import RunRecord

Made = list[tuple[str, str, str, str]]  # title, SVG text, caption, alt
DRAW: dict[str, Callable[[Any], Made]] = {}  # by the entry's name


def saliency(record: RunRecord) -> Section | None:
    """Why this answer: which steps of the input it rests on."""
    return _section(record, "saliency", "Why this answer")


def trajectories(record: RunRecord) -> Section | None:
    """What the state holds along a sequence."""
    return _section(record, "hidden", "What the state holds")


def learning_rate(record: RunRecord) -> Section | None:
    """The loss over rising learning rates."""
    return _section(record, "learning_rate", "Finding the learning rate")


def worst(record: RunRecord) -> Section | None:
    """The worst errors, a row each."""
    rows = (record.inspected or {}).get("worst")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    heads = list(dict.fromkeys(name for row in rows for name in row))
    numeric = frozenset(i for i, name in enumerate(heads) if all(_number(row.get(name)) for row in rows))
    cells = [[_shown(row.get(name)) for name in heads] for row in rows]
    table = Table("The worst errors, the worst first", [name.replace("_", " ") for name in heads], cells, numeric)
    return Section("worst", "Worst errors", [table])


def _section(record: RunRecord, entry: str, title: str) -> Section | None:
    found, draw = (record.inspected or {}).get(entry), DRAW.get(entry)
    if found is None or draw is None:
        return None
    blocks: list[Block] = []
    for i, (heading, svg, caption, alt) in enumerate(draw(found), 1):
        blocks += [Heading(heading), embedded(f"{entry.replace('_', '-')}-{i}", svg, caption, alt)]
    return Section(entry.replace("_", "-"), title, blocks) if blocks else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)
