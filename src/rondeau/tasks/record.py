"""All that a run's folder tells, read for reports: of any task, finished or not, however much of it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rondeau.errors import CheckpointError, RondeauError
from rondeau.insight.advice import Advice, Facts, advise
from rondeau.insight.checks import checks_from_json
from rondeau.insight.files import read_lines, read_samples
from rondeau.insight.records import Sample, sample_from_json
from rondeau.insight.results import Results, results_from_json
from rondeau.models.summary import Row, summary_rows, summary_totals
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import total_speed

Record = dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """What stands in a run's folder.

    Attributes:
        path: the folder; config: its `config.json`, empty while there is none.
        history: a record an epoch; speed: of the whole training, None if not measured.
        results: the table, baselines first, the run's own model last; None before the end.
        findings: what the task itself tells of its answers, by name; empty before the end.
        written: the text samples; None without.
        samples: what insight measured, by rising step.
        inspected: `inspect.json`, None without.
        layers, totals: the model's summary; no_model: why there is none.
        advice: what follows from all that, problems first.
    """

    path: Path
    config: Record = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    speed: Record | None = None
    results: Results | None = None
    findings: Record = field(default_factory=dict)
    written: str | None = None
    samples: list[Sample] = field(default_factory=list)
    inspected: Record | None = None
    layers: list[Row] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)
    no_model: str | None = None
    advice: Sequence[Advice] = ()

    @property
    def settings(self) -> Record:
        """What was asked; empty where the run does not say."""
        return self.config.get("settings") or {}

    @property
    def data(self) -> Record:
        """On which data; empty where the run does not say."""
        return self.config.get("data") or {}

    @property
    def measured(self) -> Sample | None:
        """What `rondeau inspect` measured of the best model; None without."""
        found = (self.inspected or {}).get("measured")
        try:
            return sample_from_json(found) if found else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            fix = f"Write it anew: rondeau inspect {self.path}"
            raise CheckpointError("what was measured cannot be read", where=self.path, got=error, fix=fix) from error

    @property
    def name(self) -> str:
        """A name for a heading: the model and its data where they are known, else the folder's."""
        own = self.results.own.name if self.results else self.settings.get("cell")
        known = [str(part) for part in (own, self.data.get("name")) if part]
        return " on ".join(known) or self.path.resolve().name


def read_record(path: Path, model: bool = True) -> RunRecord:
    """Read a run's folder; `model`: load the model too, for its summary.

    A last line that is still being written is left out. A folder into which a callback wrote samples alone is read too.
    Raises `CheckpointError` for a folder that is no run, and for files that are damaged.
    """
    run = RunFolder(path)
    if run.config.exists() or not run.insight.exists():
        run = RunFolder.open(path)
    record = RunRecord(
        path=path,
        config=run.read_json(run.config) if run.config.exists() else {},
        history=read_lines(run.history),
        speed=total_speed(read_lines(run.speed)),
        results=results_from_json(run.read_json(run.results), run.results) if run.results.exists() else None,
        findings=run.read_json(run.findings) if run.findings.exists() else {},
        written=run.samples.read_text(encoding="utf-8") if run.samples.exists() else None,
        samples=read_samples(path),
        inspected=run.read_json(run.inspected) if run.inspected.exists() else None,
    )
    checked = checks_from_json(run.read_json(run.checks)) if run.checks.exists() else None
    facts = Facts(record.samples, record.history, record.results, checked, record.config.get("settings"))
    record = replace(record, advice=advise(facts))
    return with_summary(record, run) if model else record


def with_summary(record: RunRecord, run: RunFolder) -> RunRecord:
    """The record with its model's summary, or with the reason why there is none."""
    if not run.model.is_dir():
        return replace(record, no_model="The run has kept no model.")
    try:
        model = run.load_model()
    except RondeauError as error:  # a cell of the user's own, in a program that is not imported here
        return replace(record, no_model=f"The model could not be loaded here: {error}")
    return replace(record, layers=summary_rows(model), totals=summary_totals(model))
