"""A job in a few lines of Python, as the command line does it."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rondeau.errors import ArgumentError, CheckpointError
from rondeau.insight.results import Results, results_from_json
from rondeau.tasks.registry import get_task, guess_task
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import Speed
from rondeau.training.callbacks import Callback
from rondeau.training.lookup import unknown
from rondeau.training.progress import EpochLines


class Run:
    """A run's folder, as `train` or `rondeau train` wrote it.

    Attributes: `path`, the folder; `task`, the task's name. Raises `CheckpointError` for a folder that is no run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = RunFolder.open(Path(path))
        self.path, self.task = self.folder.path, self.folder.task

    @property
    def model(self) -> Any:
        """The best epoch's model: any other `rondeau.Model`."""
        return self.folder.load_model()

    @property
    def results(self) -> Results:
        """The table of the model beside the baselines. Raises `CheckpointError` before the run has come to its end."""
        if not self.folder.results.exists():
            fix = f"Go on with it: rondeau train --resume {self.path}"
            raise CheckpointError("the run has not come to its end", where=self.path, fix=fix)
        return results_from_json(self.folder.read_json(self.folder.results), self.folder.results)

    def evaluate(self, path: str | os.PathLike[str], device: str = "auto") -> dict[str, float]:
        """The model's figures by metric on other data with answers, in the form the run learnt from."""
        return dict(get_task(self.task).evaluate(self.folder, os.fspath(path), device).own.scores)

    def predict(
        self, inputs: str | os.PathLike[str] | Sequence[Any], device: str = "auto", **options: Any
    ) -> list[dict[str, Any]]:
        """A record for each input: of a file or folder by its path, or of a list of texts, or of dicts by column."""
        if isinstance(inputs, (str, os.PathLike)):
            return list(get_task(self.task).predict(self.folder, os.fspath(inputs), device, options))
        if not len(inputs):
            return []
        with tempfile.TemporaryDirectory() as folder:
            return self.predict(_written(inputs, Path(folder)), device, **options)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, task={self.task!r})"


def train(
    path: str | os.PathLike[str] | None = None,
    task: str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    **settings: Any,
) -> Run:
    """Train on a file or folder, beside baselines that know less; what `rondeau train` does, without its report.

    Args:
        path: the data; None for those that the package makes itself.
        task: its name (default: what the data look like, said on a line).
        out: the run's folder (default: the first free one of runs/1, runs/2, ...); overwrite: replace a run there.
        verbose: print what was read, and a line an epoch.
        settings: options of the task by name, such as `units=64` or `epochs=3`; see `rondeau train --help`.

    Raises `ArgumentError` for a setting the task does not have, and what reading and training raise.
    """
    kind, why = (get_task(task or "language_model"), None) if task or path is None else guess_task(Path(path))
    known = [one.name for one in fields(kind.settings)]
    for name in settings:
        if name not in known:
            raise unknown(f"setting of {kind.name}", name, known)
    asked = kind.settings(path=None if path is None else os.fspath(path), **settings)
    work = kind.begin(asked, free_folder() if out is None else Path(out), overwrite)
    work.run.hold()
    view = _lines if verbose else _nothing
    if verbose:
        print(*([f"task: {kind.name}, since {why}"] if why else []), *kind.describe(work), sep="\n")
    try:
        if not kind.fit(work, view):
            raise KeyboardInterrupt(f"stopped; go on with: rondeau train --resume {work.run.path}")
        kind.conclude(work, view)
    finally:
        work.run.release()
    return Run(work.run.path)


def free_folder() -> Path:
    """The first of runs/1, runs/2, ... that does not exist."""
    return next(path for path in (Path("runs") / str(n) for n in itertools.count(1)) if not path.exists())


def _lines(steps: int, speed: Speed) -> list[Callback]:
    return [EpochLines()]


def _nothing(steps: int, speed: Speed) -> list[Callback]:
    return []


def _written(inputs: Sequence[Any], folder: Path) -> Path:
    """Inputs as a file: texts one a line, dicts as JSON lines."""
    if all(isinstance(one, str) for one in inputs):
        records: Iterator[Any] = ({"text": one} for one in inputs)
    elif all(isinstance(one, dict) for one in inputs):
        records = iter(inputs)
    else:
        kinds = sorted({type(one).__name__ for one in inputs})
        raise ArgumentError("inputs", expected="a path, a list of texts, or a list of dicts", got=f"a list of {kinds}")
    file = folder / "inputs.jsonl"
    file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return file
