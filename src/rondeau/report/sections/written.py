"""What the model writes."""

from __future__ import annotations

from rondeau.report.blocks import Code, Section, Text
from rondeau.tasks.record import RunRecord


def written(record: RunRecord) -> Section | None:
    """The text samples."""
    if not record.written:
        return None
    return Section(
        "written",
        "What it writes",
        [
            Text("Before the bar stands the beginning of the held-out text, after it what the model makes of it."),
            Code(record.written, "Samples of text"),
        ],
    )
