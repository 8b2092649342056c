"""What gates let through, and what the state holds."""

from __future__ import annotations

from rondeau.insight.records import Values
from rondeau.report.blocks import Block, Heading, Section, Text, drawn, slug
from rondeau.report.figures import gates as figures
from rondeau.report.figures.flow import of_scan, scan_names
from rondeau.tasks.record import RunRecord

MOST = 6  # scans drawn one by one


def gates(record: RunRecord) -> Section | None:
    """How gate values spread, their saturation, and forget gates' time constants."""
    blocks: list[Block] = []
    for name in scan_names(record.samples)[:MOST]:
        last = of_scan(record.samples, name)[-1][1]
        made = drawn(
            f"histograms-{slug(name)}",
            figures.histograms(record.samples, name),
            "How the values spread: outlined early, filled late in training. Look for all values heaped at one end: "
            "such a gate is always shut or open, and passes hardly any gradient to its weights. A forget gate near 1 "
            "keeps; a state heaped at both ends is saturated.",
            f"Histograms of {name}'s gates and states. " + _spread({**last.gates, **last.states}),
        )
        made += drawn(
            f"saturation-{slug(name)}",
            figures.saturation(record.samples, name),
            "Share of gate values within a twentieth of either end. Look for a line that climbs towards 100 %: smaller "
            "initial weights or a smaller learning rate keep a gate in its middle; a forget gate may well be high.",
            f"Saturation of {name}'s gates over the training. " + _saturated(last.gates),
        )
        blocks += [Heading(f"{name} ({last.cell})"), *made] if made else []
    blocks += drawn(
        "time-constants",
        figures.time_constants(record.samples),
        "How many steps a unit remembers, if its forget gate stays at its mean: -1 / ln f. Look whether some units "
        "come near the length of the dependencies in your data; the start can be set by bias_initializer='chrono'.",
        "Time constants of forget gates, quantiles over units, over the training.",
    )
    return Section("gates", "Gates", blocks + _others(record)) if blocks else None


def state(record: RunRecord) -> Section | None:
    """Saturated, dead and stuck parts of the state."""
    blocks: list[Block] = []
    for name in scan_names(record.samples)[:MOST]:
        last = of_scan(record.samples, name)[-1][1]
        made = drawn(
            f"state-{slug(name)}",
            figures.states(record.samples, name),
            "Look for dead units (zero at every step) and stuck ones (the same at every step): they hold nothing. A "
            "tanh's values near -1 or 1 are saturated and pass hardly any gradient.",
            f"State of {name} over the training. "
            + " ".join(f"{p}: {100 * v.dead:.0f} % dead, {100 * v.stuck:.0f} % stuck." for p, v in last.states.items()),
        )
        blocks += [Heading(f"{name} ({last.cell})"), *made] if made else []
    return Section("state", "State", blocks + _others(record)) if blocks else None


def _others(record: RunRecord) -> list[Block]:
    """Which scans were left out."""
    names = scan_names(record.samples)[MOST:]
    return [Text(f"Not drawn, for brevity: {', '.join(names)}; their values are in insight.jsonl.")] if names else []


def _spread(parts: dict[str, Values]) -> str:
    return " ".join(f"{name}: mean {v.mean:.2f}, deviation {v.deviation:.2f}." for name, v in parts.items())


def _saturated(parts: dict[str, Values]) -> str:
    return " ".join(
        f"{name}: {100 * v.at_low:.0f} % at the lower end, {100 * v.at_high:.0f} % at the upper."
        for name, v in parts.items()
    )
