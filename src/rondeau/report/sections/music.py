"""What a model of music composed."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, drawn
from rondeau.report.figures.rolls import piano_rolls
from rondeau.tasks.record import RunRecord


def music(record: RunRecord) -> Section | None:
    """Piano rolls of what was composed; none of other tasks."""
    pieces = record.findings.get("composed")
    if not pieces:
        return None
    files = ", ".join(piece["file"] for piece in pieces)
    caption = (
        "The beginning of a held-out piece, and how the model goes on with it. Look for what the given part has and "
        f"the composed part loses: held notes, cadences, a pulse, voices that keep their distance. To listen: {files}."
    )
    said = "; ".join(f"{piece['title']}: {len(piece['notes'])} notes" for piece in pieces)
    blocks: list[Block] = list(drawn("composed", piano_rolls(pieces), caption, f"Piano rolls. {said}."))
    return Section("composed", "What it composes", blocks)
