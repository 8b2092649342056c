"""A job trained with several seeds, and the row that comes of it."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rondeau.tasks.registry import get_task

SEEDS = 5


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A command line with `--data`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the sets")
    return parser


def arguments(description: str | None, module: str, needs_data: bool = True) -> argparse.Namespace:
    """`--data`, `--seeds`, and the command as it was given."""
    parser = parser_of(description)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    asked = parser.parse_args()
    asked.command = " ".join(["python -m", module, *sys.argv[1:]])
    if needs_data and not asked.data.is_dir():
        parser.error(f"there is no folder {asked.data}")
    return asked


def trained(task: str, seeds: int, settings: Callable[[Any, int], Any]) -> list[tuple[Any, float]]:
    """Of each seed the results and the seconds of training, validation and baselines.

    `settings`: from the task's demo settings and a seed.
    """
    job: Any = get_task(task)
    found = []
    for seed in range(seeds):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            asked = replace(settings(job.demo_settings(), seed), seed=seed, insight=False)
            work = job.begin(asked, Path(folder) / "run")
            job.fit(work, lambda steps, speed: [])
            results = job.conclude(work, lambda steps, speed: [])
        found.append((results, time.perf_counter() - begun))
        metric = results.metric
        value = metric.show(results.own.scores[metric.name])
        print(f"seed {seed}: {metric.word} {value}, {found[-1][1]:.0f} s", file=sys.stderr, flush=True)
    return found


def table(
    title: str, found: Sequence[tuple[Any, float]], names: Sequence[str], command: str, runs: str = "Seeds"
) -> str:
    """A row for each model: its figures as mean ± standard deviation over the seeds, and in brackets the range."""
    results = [one for one, _ in found]
    metrics = [metric for metric in results[0].metrics if metric.name in names]
    lines = [f"| {title} | " + " | ".join(metric.word for metric in metrics) + " |"]
    lines.append("| --- |" + " ---: |" * len(metrics))
    for number, row in enumerate(results[0].rows):
        cells = []
        for metric in metrics:
            values = [one.rows[number].scores[metric.name] for one in results]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            low, high = metric.show(min(values)), metric.show(max(values))
            cells.append(f"{metric.show(statistics.fmean(values))} ± {metric.show(spread)} ({low} to {high})")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    seconds = statistics.fmean(took for _, took in found)
    lines.append("")
    lines.append(f"{runs} 0 to {len(found) - 1}, {seconds:.0f} s each, baselines included: `{command}`")
    return "\n".join(lines)
