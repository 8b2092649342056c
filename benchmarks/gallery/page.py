"""The page's tables, put between the comments that say where, and the figures themselves as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks.gallery.cells import CELLS, TOO_FAST
from benchmarks.gallery.problems import PROBLEMS
from benchmarks.gallery.train import Plan, Run

LEFT = 0.01  # of a gradient, where its memory is said to end


def save(runs: Sequence[Run], path: Path) -> None:
    """All that was measured, numbers to four digits: pictures and tables are made of this."""
    path.write_text(json.dumps([_rounded(asdict(run)) for run in runs]) + "\n", "utf-8")


def read(path: Path) -> list[Run]:
    """What `save` wrote."""
    names = [field.name for field in fields(Run)]
    return [Run(**{name: run[name] for name in names}) for run in json.loads(path.read_text("utf-8"))]


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value


def memory(norms: Sequence[float]) -> int | None:
    """Steps back from where on less than a hundredth of the last step's gradient is left; None where more is at the
    first step."""
    above = [lag for lag, norm in enumerate(norms) if norm >= LEFT * norms[0]]
    return None if not above or above[-1] == len(norms) - 1 else above[-1] + 1


def tables(runs: Sequence[Run]) -> dict[str, str]:
    """Name -> Markdown: for each problem what was reached, and how far the gradient reached before and after."""
    found = {}
    for name in dict.fromkeys(run.problem for run in runs):
        found[f"{name} scores"] = _table(runs, name, _score)
        found[f"{name} gradients"] = _table(runs, name, lambda run: f"{_reach(run.before)} → {_reach(run.after)}")
    found["budget"] = budget(runs)
    too_fast = [run for run in runs if run.cell == TOO_FAST]
    return found | ({"explosion": explosion(too_fast[0])} if too_fast else {})


def explosion(run: Run) -> str:
    """The losses of the first updates of a run that is too fast."""
    losses = [f"{loss:.2g}" if math.isfinite(loss) else "NaN" for loss in run.loss[:6]]
    return f"Losses of the first updates, at {run.steps:,} steps: {', '.join(losses)}."


def budget(runs: Sequence[Run]) -> str:
    """How long each length was learnt."""
    plan = Plan(updates=0)
    counts = {run.steps: run.updates[-1] for run in runs if run.cell in CELLS}
    said = ", ".join(f"{updates:,} at {steps:,} steps" for steps, updates in sorted(counts.items()))
    minutes = math.ceil(sum(run.seconds for run in runs) / 60)
    return (
        f"{plan.units} units, batches of {plan.rows} sequences, all of them new; updates: {said}. "
        f"All {len(runs)} runs took {minutes} minutes on one thread of a busy machine."
    )


def _table(runs: Sequence[Run], problem: str, cell: Callable[[Run], str]) -> str:
    lengths = sorted({run.steps for run in runs})
    lines = [
        "| | " + " | ".join(f"{steps:,} steps" for steps in lengths) + " |",
        "| --- " + "| ---: " * len(lengths) + "|",
    ]
    for kind in CELLS:
        row = {run.steps: run for run in runs if (run.problem, run.cell) == (problem, kind)}
        if row:
            lines.append(f"| {kind} | " + " | ".join(cell(row[s]) if s in row else "" for s in lengths) + " |")
    return "\n".join(lines)


def _score(run: Run) -> str:
    if not math.isfinite(run.score):
        return "diverged"
    return f"{run.score:.2g}" if run.problem == "adding" else f"{run.score:.0%}".replace("%", " %")


def _reach(norms: Sequence[float]) -> str:
    if not all(map(math.isfinite, norms)):
        return "lost"
    found = memory(norms)
    return "all" if found is None else f"{found:,}"


def filled(text: str, parts: dict[str, str]) -> str:
    """The page with its tables renewed. Raises `ValueError` for one that has no place on it."""
    for name, part in parts.items():
        begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
        pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
        found = pattern.search(text)
        if not found:
            raise ValueError(f"the page has no place for {name!r}: expected {begin} ... {end}")
        text = f"{text[: found.start()]}{begin}\n\n{part}\n\n{end}{text[found.end() :]}"
    return text


def problems(runs: Sequence[Run]) -> list[str]:
    """Those there are runs of, in their order."""
    return [name for name in PROBLEMS if any(run.problem == name for run in runs)]
