"""Models beside each other: a run's `results.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rondeau.errors import CheckpointError


class Metric(NamedTuple):
    """What models are judged by: its name, whether more is better, and how a value is written."""

    name: str
    higher: bool = True
    digits: int = 3
    percent: bool = False

    @property
    def word(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`."""
        return one > other if self.higher else one < other

    def show(self, value: float | None) -> str:
        """The value as text; a dash for none."""
        if value is None or value != value:
            return "–"
        return f"{100 * value:.{max(self.digits - 2, 0)}f} %" if self.percent else f"{value:.{self.digits}f}"

    def show_with(self, value: float | None, interval: Sequence[float] | None) -> str:
        """The value and its interval."""
        if interval is None:
            return self.show(value)
        low, high = (self.show(end).removesuffix(" %") for end in interval)
        return f"{self.show(value)} ({low}–{high})"


class Row(NamedTuple):
    """A model: how many numbers it holds (None where that says nothing), and its figures on the test part."""

    name: str
    parameters: int | None
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = {}


@dataclass(frozen=True)
class Results:
    """The table of a run.

    Attributes:
        metrics: the first one decides; rows: baselines first, the run's own model last.
        where: what they were measured on; notes: what a reader of the table must know.
    """

    metrics: Sequence[Metric]
    rows: Sequence[Row]
    where: str = "the held-out test part"
    notes: Sequence[str] = field(default_factory=list)

    @property
    def metric(self) -> Metric:
        """The one that decides."""
        return self.metrics[0]

    @property
    def own(self) -> Row:
        """The run's own model."""
        return self.rows[-1]

    def best_baseline(self) -> Row | None:
        """By the metric that decides; None without any that has it."""
        name = self.metric.name
        rows = [row for row in self.rows[:-1] if name in row.scores]
        if not rows:
            return None
        return (max if self.metric.higher else min)(rows, key=lambda row: row.scores[name])

    def gain(self) -> float | None:
        """By how much the model is better than the best baseline, below 0 where it is worse; None without one."""
        other, name = self.best_baseline(), self.metric.name
        if other is None or name not in self.own.scores:
            return None
        gain = self.own.scores[name] - other.scores[name]
        return gain if self.metric.higher else -gain

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {
            "where": self.where,
            "metrics": [metric._asdict() for metric in self.metrics],
            "rows": [
                {
                    **row._asdict(),
                    "scores": dict(row.scores),
                    "intervals": {k: list(v) for k, v in row.intervals.items()},
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }


_BITS = "bits_per_character"


def results_from_json(data: Mapping[str, Any], file: Path) -> Results:
    """What `to_json` gave, or the table of a language model from before there were other tasks.

    Raises `CheckpointError` for anything else.
    """
    try:
        if "metrics" not in data:
            rows = [Row(row["name"], row.get("parameters"), {_BITS: float(row[_BITS])}) for row in data["rows"]]
            return Results([Metric(_BITS, higher=False)], rows, str(data.get("text", "the held-out text")))
        rows = [
            Row(
                row["name"],
                row["parameters"],
                {name: float(value) for name, value in row["scores"].items()},
                {name: (float(ends[0]), float(ends[1])) for name, ends in row["intervals"].items()},
            )
            for row in data["rows"]
        ]
        metrics = [Metric(**metric) for metric in data["metrics"]]
        if not rows or not metrics:
            raise ValueError("no rows")
        return Results(metrics, rows, data["where"], list(data["notes"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        expected = "metrics, and rows, each with a name and scores"
        raise CheckpointError("a file of the run is damaged", where=file, got=repr(error), expected=expected) from error
