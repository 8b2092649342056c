"""What is needed to repeat the run."""

from __future__ import annotations

from typing import Any

from rondeau.report.blocks import Block, Code, Facts, Heading, Section, Text
from rondeau.tasks.record import RunRecord

UNSAID = "not written down by the Rondeau that made this run"


def repeat(record: RunRecord) -> Section:
    """The command, the data's fingerprint, versions and seed, and all that was asked."""
    said: dict[str, Any] = record.config.get("reproduce") or {}
    blocks: list[Block] = []
    if said.get("command"):
        blocks += [Text("The exact command:"), Code(said["command"], "Command that repeats the run")]
    versions: dict[str, Any] = said.get("versions") or {}
    facts: list[tuple[str, Any]] = [("seed", record.settings.get("seed", said.get("seed", UNSAID)))]
    facts += [("data", record.data["name"])] if record.data.get("name") else []
    facts += [("data fingerprint", record.data.get("digest") or UNSAID)]
    facts += list(versions.items()) if versions else [("versions", UNSAID)]
    facts += [("task", record.config.get("task", UNSAID)), ("run folder", record.path.name)]
    blocks.append(Facts(facts))
    if record.settings:
        shown = [(name, "not set" if value is None else value) for name, value in record.settings.items()]
        blocks += [Heading("What was asked"), Facts(shown)]
    return Section("repeat", "To repeat it", blocks)
