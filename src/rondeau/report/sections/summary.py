"""What came of the run, and what is to be done about it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from rondeau.insight.records import ScanSample
from rondeau.insight.results import Results
from rondeau.report.blocks import Advised, Block, Facts, Section, Text, slug
from rondeau.report.figures.curves import HELD_OUT, best, metrics, series, word
from rondeau.report.sections.gradient import in_words
from rondeau.tasks.record import RunRecord
from rondeau.tasks.registry import TASKS, get_task

Record = dict[str, Any]


def summary(record: RunRecord) -> Section:
    """The verdict, advice, and the numbers it comes down to."""
    blocks: list[Block] = [Text(sentence) for sentence in (_data(record), _verdict(record)) if sentence]
    if record.advice:
        blocks.append(Advised([replace(one, figure=slug(one.figure or "")) for one in record.advice]))
    facts = _facts(record)
    if facts:
        blocks.append(Facts(facts))
    return Section("summary", "Summary", blocks)


def _data(record: RunRecord) -> str | None:
    sizes = record.data.get("sizes") or {"characters": record.data.get("characters")}
    told = {kind: counts for kind, counts in sizes.items() if counts}
    if not told:
        return None
    # what is as much in every part, such as series divided in time, is the same in every part, and no other
    kind = next((kind for kind, counts in told.items() if len(set(counts.values())) > 1), next(iter(told)))
    counts = told[kind]
    title = record.config.get("task", "language_model").replace("_", " ")
    return (
        f"A model for {title} learnt from {counts['train']:,} {kind}, was chosen on {counts['validation']:,} others, "
        f"and is measured on {counts['test']:,} it never saw."
    )


def _verdict(record: RunRecord) -> str:
    if record.results:
        return _beside_baselines(record.results)
    done, asked = len(record.history), record.settings.get("epochs")
    if not done:
        return "No epoch has come to its end yet."
    so_far = f"{done} of {asked} epochs done" if asked else f"{done} epoch{'s' if done > 1 else ''} done"
    return f"{so_far}; {_last(record.history)}."


def _beside_baselines(results: Results) -> str:
    own, metric, baseline, gain = results.own, results.metric, results.best_baseline(), results.gain()
    value = metric.show_with(own.scores.get(metric.name), own.intervals.get(metric.name))
    said = f"On {results.where} its {metric.word} is {value}"
    if baseline is None or gain is None:
        return f"{said}."
    other = metric.show_with(baseline.scores[metric.name], baseline.intervals.get(metric.name))
    if gain > 0:
        return f"{said}; the best baseline, {baseline.name}, has {other}."
    return (
        f"No, it does not beat what knows less: {said[0].lower()}{said[1:]}; {baseline.name} has {other}. More data, "
        f"more epochs or more dropout may help."
    )


def _last(history: list[Record]) -> str:
    parts = []
    for metric in metrics(history)[:3]:
        for key, where in ((HELD_OUT + metric, "on held-out data"), (metric, "in training")):
            value = history[-1].get(key)
            if isinstance(value, (int, float)):
                parts.append(f"{word(metric)} {value:.4g} {where}")
                break
    return "last: " + ", ".join(parts) if parts else "nothing was measured"


def _facts(record: RunRecord) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = []
    if record.history:
        asked = record.settings.get("epochs")
        facts.append(("epochs", f"{len(record.history)} of {asked}" if asked else len(record.history)))
        for metric in metrics(record.history)[:2]:
            low = best(record.history, metric)
            if low:
                facts.append((f"best held-out {word(metric)}", f"{low[1]:.4g}, epoch {low[0]}"))
            elif values := series(record.history, HELD_OUT + metric)[1] or series(record.history, metric)[1]:
                facts.append((f"last {word(metric)}", f"{values[-1]:.4g}"))
    if record.samples:
        scans: list[ScanSample] = record.samples[-1].scans
        if len(scans) > 3:
            ordered = sorted(scans, key=lambda scan: scan.horizon)
            scans = [ordered[0], ordered[-1]]
        facts += [(f"gradient's reach, {scan.name}", in_words(scan)) for scan in scans]
        known = [s.clipped for s in record.samples if s.clipped is not None]
        if known:
            facts.append(("updates clipped", f"{100 * sum(known) / len(known):.0f} % of those sampled"))
        bad = sum(1 for s in record.samples if s.loss is not None and not math.isfinite(s.loss))
        if bad:
            facts.append(("loss not finite", f"at {bad} of {len(record.samples)} sampled updates"))
    if record.speed:
        facts.append(("speed", _speed(record.speed, _steps(record))))
    return facts


def _steps(record: RunRecord) -> str:
    """What the run's task calls a step."""
    task = record.config.get("task", "language_model")
    return get_task(task).steps if task in TASKS else "tokens"


def _speed(speed: Record, steps: str) -> str:
    rate = f"{speed['tokens_per_second']:,.0f} {steps} a second on {speed['where']}"
    done = f"trained on {speed['tokens']:,} {steps} in {speed['seconds']:.1f} s"
    return f"{done}: {rate}, reading and checkpoints counted in, validation not"
