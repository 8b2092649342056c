"""The model's layers."""

from __future__ import annotations

from rondeau.report.blocks import Block, Section, Table, Text
from rondeau.tasks.record import RunRecord


def model(record: RunRecord) -> Section | None:
    """Layers, their output shapes and weights; or why they are not known."""
    if not record.layers:
        return Section("model", "The model", [Text(record.no_model)]) if record.no_model else None
    blocks: list[Block] = [
        Table("Layers", ("layer", "output shape", "weights"), record.layers, frozenset({2})),
        Text(" · ".join(record.totals)),
    ]
    return Section("model", "The model", blocks)
