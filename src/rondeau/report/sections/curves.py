"""Alarms: what is found at which price."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Text, drawn
from rondeau.report.figures.ranking import ranking_curves
from rondeau.tasks.record import RunRecord


def curves(record: RunRecord) -> Section | None:
    """ROC and precision-recall of a task that looks for rare events."""
    found = record.findings.get("curves")
    if not found:
        return None
    at, positives = found.get("at"), found.get("positives", 0)
    said = ""
    if at:
        said = (
            f"At the threshold chosen on validation data {100 * at['recall']:.1f} % of the {positives:,} looked for "
            f"are found, {100 * at['precision']:.1f} % of the alarms are right, and "
            f"{100 * at['false_positive_rate']:.2f} % of all others give a false alarm."
        )
    blocks: list[Block] = [Text(said)] if said else []
    blocks += drawn(
        "curves",
        ranking_curves(found),
        "Left: how much is found at which share of false alarms; look at its left end, where there are few. Right: how "
        "many alarms are right when so much is found; where what is looked for is rare, this one tells more. The dot "
        "is the threshold, chosen on validation data, not on these.",
        "ROC curve and precision over recall. " + said,
    )
    return Section("curves", "What is found, and at which price", blocks) if blocks else None
