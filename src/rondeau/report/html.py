"""A run's report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rondeau.insight.advice import Advice
from rondeau.report.page import render
from rondeau.report.sections import sections
from rondeau.tasks.record import RunRecord, read_record
from rondeau.training.files import write_atomically


def write_report(run: Path, out: Path | None = None, advice: Sequence[Advice] | None = None) -> Path:
    """Write the report of a run of any task, finished or not, from the files in its folder.

    Args:
        run: the folder, as `rondeau train` or a callback wrote it.
        out: the HTML file (default: `report.html` in the folder), written atomically.
        advice: what to say about it, in order of weight; default: what the rules say.

    Returns: the file. Raises `CheckpointError` for a folder that is no run or is damaged.
    """
    out = run / "report.html" if out is None else out
    record = read_record(run)
    write_atomically(out, page(record if advice is None else replace(record, advice=advice)).encode())
    return out


def page(record: RunRecord) -> str:
    """The report as HTML."""
    return render("report.html.j2", record.name, sections(record), lead=None)
