"""Samples in a run's folder: `insight.jsonl`, a line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.records import Sample, plain, sample_from_json, to_json
from rondeau.training.files import write_atomically

FILE, HISTORY = "insight.jsonl", "history.jsonl"


class SampleFile:
    """Where samples are written, as they come; the first of a new run replaces what an older one left there."""

    def __init__(self, folder: Path) -> None:
        """Raises `ArgumentError` for a folder that cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fix = "Give another folder"
            raise ArgumentError("samples cannot be written there", got=error, where=folder, fix=fix) from error
        self.path = folder / FILE
        self._begun = False

    def append(self, sample: Sample) -> None:
        """Raises `DataError` where the file cannot be written, as on a full disk."""
        try:
            with self.path.open("a" if self._begun else "w", encoding="utf-8") as file:
                file.write(_line(to_json(sample)))
        except OSError as error:
            fix = "Give the folder its place back; what was trained so far is in the model"
            raise DataError("a sample cannot be written", got=error, where=self.path, fix=fix) from error
        self._begun = True

    def begin_with(self, samples: Iterable[Sample]) -> None:
        """Go on after these."""
        write_lines(self.path, map(to_json, samples))
        self._begun = True


def read_samples(folder: str | os.PathLike[str]) -> list[Sample]:
    """The samples in a folder, in the order they were taken; none where there is no file.

    A last line that is still being written is left out. Raises `CheckpointError` for a file that is damaged otherwise.
    """
    path = Path(folder) / FILE
    samples = []
    for number, record in enumerate(read_lines(path), start=1):
        try:
            samples.append(sample_from_json(record))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            place, fix = f"{path}, line {number}", "Delete the file; the rest of the run does not need it"
            raise CheckpointError("a sample cannot be read", where=place, got=error, fix=fix) from error
    return samples


def read_lines(file: Path) -> list[dict[str, Any]]:
    """JSON objects, one a line; none without the file, and without a last line that is still being written.

    Raises `CheckpointError` for any other line that is damaged.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError("a file cannot be read", where=file, got=error) from error
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # after the last newline there is nothing, or half a line
        try:
            record = json.loads(line)
        except ValueError as error:
            raise CheckpointError("a line is damaged", where=f"{file}, line {number}", got=error) from error
        if not isinstance(record, dict):
            raise CheckpointError("a line is damaged", where=f"{file}, line {number}", expected="a JSON object")
        records.append(record)
    return records


def write_lines(file: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, atomically; a number that is not finite becomes the word for it."""
    write_atomically(file, "".join(map(_line, records)).encode())


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(plain(record), allow_nan=False) + "\n"
