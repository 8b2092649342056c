"""Samples in a run's folder: `insight.jsonl`, a line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from rondeau.errors import CheckpointError
from rondeau.insight.records import Sample, sample_from_json, to_json
from rondeau.training.files import write_atomically

FILE = "insight.jsonl"


class SampleFile:
    """Where samples are written, as they come; the first of a new run replaces what an older one left there."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self._begun = False

    def append(self, sample: Sample) -> None:
        with self.path.open("a" if self._begun else "w", encoding="utf-8") as file:
            file.write(_line(sample))
        self._begun = True

    def begin_with(self, samples: Iterable[Sample]) -> None:
        """Go on after these."""
        write_atomically(self.path, "".join(_line(sample) for sample in samples).encode())
        self._begun = True


def read_samples(folder: str | os.PathLike[str]) -> list[Sample]:
    """The samples in a folder, in the order they were taken; none where there is no file.

    A last line that is still being written is left out. Raises `CheckpointError` for a file that is damaged otherwise.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return []
    samples = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], start=1):  # after the last newline there is nothing, or half a line
        try:
            samples.append(sample_from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            place, fix = f"{path}, line {number}", "Delete the file; the rest of the run does not need it"
            raise CheckpointError("a sample cannot be read", where=place, got=error, fix=fix) from error
    return samples


def _line(sample: Sample) -> str:
    return json.dumps(to_json(sample), allow_nan=False) + "\n"
