"""Where the decoder looked while it wrote."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Text, drawn
from rondeau.report.figures.attention import attention_map, strongest
from rondeau.tasks.record import RunRecord


def attention(record: RunRecord) -> Section | None:
    """A map for each of some test sentences."""
    blocks: list[Block] = [
        Text(
            "The model's own translations of some held-out sentences: from left to right what it read, from top to "
            "bottom what it wrote, and the darker a square, the more it took from there."
        )
    ]
    for number, look in enumerate(record.findings.get("attention") or (), 1):
        if look["source"] and look["target"]:
            blocks += drawn(
                f"attention-{number}",
                attention_map(look),
                "Look for a dark square in each row: the decoder knows where to look. A way along the diagonal keeps "
                "the order of the source, a jump changes it; rows that are pale all over were written from memory.",
                f"Attention. {strongest(look)}.",
            )
    return Section("attention", "Attention", blocks) if len(blocks) > 1 else None
