"""Whether a run is being written, from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rondeau.errors import RondeauError
from rondeau.insight.files import read_lines
from rondeau.tasks.run_folder import RunFolder

QUIET = 60.0  # seconds without a change until a run counts as stalled
WATCHED = (
    "config.json",
    "history.jsonl",
    "speed.jsonl",
    "insight.jsonl",
    "inspect.json",
    "checks.json",
    "results.json",
    "samples.txt",
)
SIGNS = (*WATCHED, "checkpoint.safetensors")


@dataclass(frozen=True)
class Status:
    """`state`: "absent", "live", "stalled" or "finished"; `sentence` says it."""

    state: str
    sentence: str


def fingerprint(run: Path) -> tuple[Any, ...]:
    """Changes whenever a file does that the page shows; empty while there is no run."""
    found = [(name, *written) for name in WATCHED if (written := times(run / name)) is not None]
    return tuple(found)


def times(file: Path) -> tuple[int, int] | None:
    """When a file was written, in nanoseconds, and its size; None where there is none."""
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def status(run: Path, now: float) -> Status:
    """What the file times say at `now`, in seconds since the epoch of `time.time`."""
    changes = [written[0] / 1e9 for name in SIGNS if (written := times(run / name)) is not None]
    if not changes:
        return Status("absent", f"Waiting: there is no run in {run} yet.")
    age, (done, asked, longest) = max(now - max(changes), 0.0), _progress(RunFolder(run))
    epochs = f"{done} of {asked} epochs" if asked else f"{done} epoch{'' if done == 1 else 's'}"
    if times(RunFolder(run).results) is not None:
        return Status("finished", f"Finished: {epochs}, last written {words(age)} ago.")
    if age <= max(QUIET, 3 * longest):
        return Status("live", f"Live: {epochs}, last written {words(age)} ago.")
    if asked and done >= asked:
        return Status("finished", f"Finished: {epochs}, last written {words(age)} ago.")
    return Status("stalled", f"Stalled or ended: {epochs}, nothing written for {words(age)}.")


def _progress(run: RunFolder) -> tuple[int, int | None, float]:
    """Epochs done and asked for, and the seconds of the longest, as far as the files can be read at this moment."""
    try:
        config = run.read_json(run.config) if run.config.exists() else {}
        done = len(read_lines(run.history))
        longest = max((float(r.get("seconds", 0.0)) for r in read_lines(run.speed)), default=0.0)
    except (RondeauError, OSError):
        return 0, None, 0.0
    asked = (config.get("settings") or {}).get("epochs")
    return done, asked if isinstance(asked, int) else None, longest


def words(seconds: float) -> str:
    """`12 s`, `3 min`, `5 h`, `2 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
