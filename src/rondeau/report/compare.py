"""Several runs side by side, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rondeau.errors import ArgumentError
from rondeau.insight.records import ScanSample
from rondeau.report.blocks import Block, Section, Table, Text, drawn, slug
from rondeau.report.figures.curves import HELD_OUT, best, metrics, overlaid, series, word
from rondeau.report.figures.flow import reached
from rondeau.report.figures.several import over_updates
from rondeau.report.page import render
from rondeau.report.sections.gradient import HEADS, row
from rondeau.tasks.record import RunRecord, read_record
from rondeau.training.files import write_atomically

Named = Sequence[tuple[str, RunRecord]]


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Write what several runs have in common and where they differ: curves, settings, results, gradients.

    Args:
        runs: their folders, two or more; those of different tasks may stand together.
        out: the HTML file, written atomically.

    Returns: the file. Raises `CheckpointError` for a folder that is no run, `ArgumentError` for fewer than two.
    """
    if len(runs) < 2:
        raise ArgumentError("compare", expected="two runs or more", got=len(runs))
    named = list(zip(labels(runs), (read_record(run, model=False) for run in runs), strict=True))
    made = [section for make in (_results, _curves, _settings, _gradient, _updates) if (section := make(named))]
    title = " and ".join(name for name, _ in named) if len(named) < 4 else f"{len(named)} runs"
    write_atomically(out, render("report.html.j2", f"Compared: {title}", made, lead=None).encode())
    return out


def labels(runs: Sequence[Path]) -> list[str]:
    """As short a part of each path's end as tells them apart; the same folder twice gets a number."""
    parts = [Path(os.path.abspath(run)).parts for run in runs]
    longest = max(map(len, parts))
    for length in range(1, longest + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return [f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _results(named: Named) -> Section:
    shared = _metrics(named)
    heads = ["run", "epochs", *(word(metric) for metric in shared), "held-out test", "seconds"]
    rows = [
        [name, len(record.history), *(_value(record, metric) for metric in shared), _test(record), _seconds(record)]
        for name, record in named
    ]
    tested = [(record.results, name) for name, record in named if record.results]
    blocks: list[Block] = []
    if len(tested) > 1 and len({results.metric for results, _ in tested}) == 1:
        texts = {record.data.get("digest") for _, record in named if record.results}
        other = " They were not measured on the same data, so this says little." if len(texts) > 1 else ""
        metric = tested[0][0].metric
        values = [(results.own.scores[metric.name], name) for results, name in tested]
        value, name = (max if metric.higher else min)(values)
        blocks.append(Text(f"{name} is the best, with {metric.word} {metric.show(value)}.{other}"))
    blocks.append(
        Table("Results, of each epoch's figure the best or last", heads, rows, frozenset(range(1, len(heads))))
    )
    return Section("summary", "Summary", blocks)


def _curves(named: Named) -> Section | None:
    blocks: list[Block] = []
    for metric in _metrics(named):
        blocks += drawn(
            f"curve-{slug(metric)}",
            overlaid([(name, record.history) for name, record in named], metric),
            f"Each run's {word(metric)}. Look which comes lower (or, for an accuracy, higher), which is there sooner, "
            "and which turns back.",
            f"{word(metric)} of each run over epochs. "
            + " ".join(f"{name}: {_value(record, metric)}." for name, record in named),
        )
    return Section("learning", "Learning curves", blocks) if blocks else None


def _settings(named: Named) -> Section | None:
    names = list(dict.fromkeys(name for _, record in named for name in record.settings))
    missing = object()
    differing = [name for name in names if len({repr(r.settings.get(name, missing)) for _, r in named}) > 1]
    rows = [[name, *(_plain(record.settings, name) for _, record in named)] for name in differing]
    for title, get in (("data fingerprint", lambda r: r.data.get("digest", "–")), ("versions", _versions)):
        values = [get(record) for _, record in named]
        rows += [[title, *values]] if len(set(values)) > 1 else []
    if not rows:
        return Section("settings", "Settings", [Text("All settings that were written down are the same.")])
    return Section(
        "settings", "Settings that differ", [Table("Settings that differ", ["setting", *_names(named)], rows)]
    )


def _gradient(named: Named) -> Section | None:
    measured = [(name, record) for name, record in named if any(sample.scans for sample in record.samples)]
    if not measured:
        return None
    rows = [
        [name, *row(scan)]
        for name, record in measured
        for scan in [sample for sample in record.samples if sample.scans][-1].scans
    ]
    heads = ("run", *HEADS)
    blocks: list[Block] = [Table("Gradient through time, at the end", heads, rows, frozenset({2, 3, 4}))]
    for figure, label, get, caption in (
        ("memory", "effective memory, steps", reached, "Steps back until less than 1 % of the gradient is left"),
        ("decay", "factor per step back", _factor, "What the gradient is multiplied by on each step back"),
    ):
        blocks += drawn(
            figure,
            over_updates([(name, _worst(record, get)) for name, record in measured], label),
            f"{caption}, in each run's layer where that is least. Look which run reaches back as far as the data asks.",
            f"{caption}, of each run over its updates.",
        )
    return Section("gradient", "Gradient through time", blocks)


def _updates(named: Named) -> Section | None:
    points = [(n, [(s.step, s.gradient) for s in r.samples if s.gradient is not None]) for n, r in named]
    blocks = drawn(
        "gradient-norm",
        over_updates(points, "gradient norm", log=True),
        "The norm of all gradients together, before clipping. Look for spikes, and for runs that stay far above the "
        "others: their learning rate or their recurrent weights may be too large.",
        "Gradient norm of each run over its updates.",
    )
    return Section("updates", "Updates", blocks) if blocks else None


def _names(named: Named) -> list[str]:
    return [name for name, _ in named]


def _metrics(named: Named) -> list[str]:
    return list(dict.fromkeys(metric for _, record in named for metric in metrics(record.history)))


def _last(record: RunRecord, metric: str) -> float | None:
    values = series(record.history, HELD_OUT + metric)[1] or series(record.history, metric)[1]
    return values[-1] if values else None


def _value(record: RunRecord, metric: str) -> str:
    low = best(record.history, metric)
    return _shown(low[1] if low else _last(record, metric))


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _test(record: RunRecord) -> str:
    if record.results is None:
        return "–"
    metric = record.results.metric
    return f"{metric.word} {metric.show(record.results.own.scores.get(metric.name))}"


def _seconds(record: RunRecord) -> str:
    return f"{record.speed['seconds']:.1f}" if record.speed else "–"


def _plain(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name)
    return "–" if value is None else str(value)


def _versions(record: RunRecord) -> str:
    versions = (record.config.get("reproduce") or {}).get("versions") or {}
    return ", ".join(f"{name} {value}" for name, value in versions.items()) or "–"


def _factor(scan: ScanSample) -> float | None:
    return scan.decay.factor


def _worst(record: RunRecord, get: Callable[[ScanSample], float | None]) -> list[tuple[int, float]]:
    found = [(sample.step, [v for scan in sample.scans if (v := get(scan)) is not None]) for sample in record.samples]
    return [(step, min(values)) for step, values in found if values]
