"""A run's report: one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from rondeau.report.page import render
from rondeau.report.sections import sections
from rondeau.tasks.record import RunRecord, read_record
from rondeau.training.files import write_atomically


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a run of any task, finished or not, from the files in its folder.

    Args:
        run: the folder, as `rondeau train` or a callback wrote it.
        out: the HTML file (default: `report.html` in the folder), written atomically.

    Returns: the file. Raises `CheckpointError` for a folder that is no run or is damaged.
    """
    out = run / "report.html" if out is None else out
    write_atomically(out, page(read_record(run)).encode())
    return out


def page(record: RunRecord) -> str:
    """The report as HTML."""
    return render("report.html.j2", record.name, sections(record), lead=None)
