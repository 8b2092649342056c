"""Where the decoder looked while it wrote."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Text, drawn
from rondeau.report.figures.attention import attention_map, strongest
from rondeau.tasks.record import RunRecord


def attention(record: RunRecord) -> Section | None:
    """A map for each of some test sentences."""
    blocks: list[Block] = [
        Text(
            "What the model wrote after reading some held-out sentences. Look for a dark square in each row: the "
            "decoder knows where to look. A way along the diagonal keeps the order of the source, a jump changes it; a "
            "row that is pale all over was written from memory."
        )
    ]
    for number, look in enumerate(record.findings.get("attention") or (), 1):
        if look["source"] and look["target"]:
            blocks += drawn(
                f"attention-{number}",
                attention_map(look),
                "From left to right what was read, from top to bottom what was written: the darker, the more it took.",
                f"Attention. {strongest(look)}.",
            )
    return Section("attention", "Attention", blocks) if len(blocks) > 1 else None
