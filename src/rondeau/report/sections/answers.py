"""What a task tells of its answers: `findings.json`."""

from __future__ import annotations

from typing import Any

from rondeau.report.blocks import Block, Section, Table, Text, drawn
from rondeau.report.figures.confusion import confusion_matrix
from rondeau.tasks.record import RunRecord

_PAIRS = 5  # confusions told in words
_LONG = 160  # letters of a cell


def confusion(record: RunRecord) -> Section | None:
    """Which label was taken for which."""
    found = record.findings.get("confusion")
    if not found:
        return None
    labels, counts = found["labels"], found["counts"]
    wrong = [
        (count, labels[i], labels[j]) for i, row in enumerate(counts) for j, count in enumerate(row) if i != j and count
    ]
    most = sorted(wrong, reverse=True)[:_PAIRS]
    told = "; ".join(f"{true!r} taken for {answer!r} {count:,} times" for count, true, answer in most) or "none at all"
    told_so = "Rows are true labels, columns answers; strong fields off the diagonal are what to look into."
    caption = f"{told_so} Most often: {told}."
    blocks = drawn("confusion", confusion_matrix(labels, counts), caption, f"Confusion matrix. Mistakes: {told}.")
    return Section("confusion", "What is taken for what", blocks) if blocks else None


def by_group(record: RunRecord) -> Section | None:
    """Figures of parts of the data, such as labels or lengths."""
    found = record.findings.get("by_group")
    tables = found if isinstance(found, list) else [found] if found else []
    blocks: list[Block] = []
    for one in tables:
        rows = [[_shown(cell) for cell in row] for row in one["rows"]]
        numeric = frozenset(i for i in range(1, len(one["heads"])))
        blocks.append(Table(one["title"], one["heads"], rows, numeric))
    return Section("by-group", "Where it is good and where not", blocks) if blocks else None


def examples(record: RunRecord) -> Section | None:
    """Some answers, and the worst ones."""
    blocks: list[Block] = []
    for name, caption in (("examples", "Some answers"), ("worst", "The worst errors, the worst first")):
        rows = record.findings.get(name)
        if not rows:
            continue
        heads = list(dict.fromkeys(key for row in rows for key in row))
        numeric = frozenset(i for i, key in enumerate(heads) if all(_number(row.get(key)) for row in rows))
        cells = [[_shown(row.get(key)) for key in heads] for row in rows]
        blocks.append(Table(caption, [head.replace("_", " ") for head in heads], cells, numeric))
    return Section("answers", "What it answers", blocks) if blocks else None


def data(record: RunRecord) -> Section | None:
    """What was read, and what was left out."""
    about = record.data
    sizes = about.get("sizes") or {}
    blocks: list[Block] = []
    if sizes:
        rows = [
            [kind, *(f"{counts[part]:,}" for part in ("train", "validation", "test"))] for kind, counts in sizes.items()
        ]
        heads = ("", "training", "validation", "test")
        blocks.append(Table("What each part holds", heads, rows, frozenset({1, 2, 3})))
    blocks += [Text(note) for note in about.get("notes") or []]
    skipped = about.get("skipped") or {}
    if skipped:
        rows = [[what, f"{kind['count']:,}", "; ".join(kind["places"])] for what, kind in skipped.items()]
        blocks.append(Table("Records left out", ("why", "how many", "the first of them"), rows, frozenset({1})))
    return Section("data", "The data", blocks) if blocks else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
