"""Forecasts as pictures: some of them, and how they hold up with the steps ahead."""

from __future__ import annotations

from typing import Any

from rondeau.report.blocks import Block, Section, drawn
from rondeau.report.figures.forecast import by_step, forecasts
from rondeau.tasks.record import RunRecord


def forecast(record: RunRecord) -> Section | None:
    """What came and what was forecast; none of other tasks."""
    found = record.findings.get("forecast")
    if not found or not found["examples"]:
        return None
    target, examples, steps = found["target"], found["examples"], found["steps"]
    chained = any(example.get("one_step") for example in examples)
    what = (
        "Forecasts of the next step alone, each made when all before it had come."
        if chained
        else "Forecasts from the moment at the vertical line on: the latest of all, and those whose error is the "
        "middle one of all, large (a tenth is larger), and the largest."
    )
    blocks: list[Block] = drawn(
        "forecasts",
        forecasts(examples, target),
        f"{what} Look whether the black line stays in the light band four times in five, and whether the band widens "
        "where the series is restless: a band of one width everywhere has learnt the usual error and nothing else.",
        f"History, truth and forecast of {target}. " + " ".join(map(_said, examples)),
    )
    caption = (
        "Look how the error grows: flat means that season and calendar carry the forecast, steep that it lives on the "
        "last values. Intervals that hold too little of what came are too sure of themselves."
    )
    if found.get("widening", 1) > 1:
        caption += f" They are {found['widening']:.2f} times as wide as drawn: so much did the validation part ask for."
    blocks += drawn("by-step", by_step(steps, target), caption, _steps(steps))
    return Section("forecasts", "What it forecasts", blocks)


def _said(example: dict[str, Any]) -> str:
    count = len(example["median"])
    first = example["stamps"][len(example["history"])]
    if "low_80" not in example:
        return f"{example['series']}: {count} steps from {first} on."
    triples = zip(example["low_80"], example["truth"], example["high_80"], strict=False)
    known = [(low, truth, high) for low, truth, high in triples if truth is not None]
    inside = sum(low <= truth <= high for low, truth, high in known)
    return f"{example['series']}: {count} steps from {first} on, {inside} of {len(known)} within the 80 % interval."


def _steps(steps: list[dict[str, float]]) -> str:
    if not steps:
        return ""
    first, last = steps[0], steps[-1]
    return (
        f"Mean error {first['error']:.4g} one step ahead, {last['error']:.4g} after {last['step']}; "
        f"{100 * first['covered']:.0f} % and {100 * last['covered']:.0f} % lie in the 80 % interval."
    )
