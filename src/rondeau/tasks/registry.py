"""All tasks by name, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import itertools
from functools import cache
from pathlib import Path
from typing import Any

from rondeau.data.texts.text_lines import read_lines, suffix_of
from rondeau.errors import DataError
from rondeau.tasks.task import Task
from rondeau.training.lookup import unknown

# In the order in which they are asked whether data look like theirs: the surest signs first, plain text last.
TASKS: dict[str, str] = {
    "music": "rondeau.tasks.music.task:MusicModel",
    "speech_recognition": "rondeau.tasks.recognition.task:SpeechRecognition",
    "audio_classification": "rondeau.tasks.audio.task:AudioClassification",
    "frame_tagging": "rondeau.tasks.frames.task:FrameTagging",
    "dna_tagging": "rondeau.tasks.dna.tagging:DnaTagging",
    "dna_classification": "rondeau.tasks.dna.classification:DnaClassification",
    "dna_language_model": "rondeau.tasks.dna.language:DnaLanguageModel",
    "tagging": "rondeau.tasks.tagging.task:Tagging",
    "translation": "rondeau.tasks.translation.task:Translation",
    "text_classification": "rondeau.tasks.texts.task:TextClassification",
    "series_regression": "rondeau.tasks.series.regression:SeriesRegression",
    "series_classification": "rondeau.tasks.series.task:SeriesClassification",
    "events": "rondeau.tasks.events.task:EventClassification",
    "forecasting": "rondeau.tasks.forecasting.task:Forecasting",
    "language_model": "rondeau.tasks.language.task:LanguageModel",
}
_TEXTS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".conll", ".conllu", "")
_LINES = 10_000  # that are looked at
_ENCODED = "text_classification | translation | forecasting"  # the tasks that read other encodings


@cache
def get_task(name: str) -> Task[Any]:
    """The task of a name. Raises `ArgumentError` for another word."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    module, _, kind = TASKS[name].partition(":")
    task: Task[Any] = getattr(importlib.import_module(module), kind)()
    return task


def guess_task(path: Path) -> tuple[Task[Any], str]:
    """The task that the data look like, and why. Raises `DataError` where there is none, or nothing at the path."""
    if not path.exists():
        raise DataError("no such file or folder", expected="a file or a folder with data", got=str(path))
    for name in TASKS:
        why = get_task(name).guess(path)
        if why is not None:
            return get_task(name), why
    _check_readable(path)
    fix = f"Name it: --task {' | '.join(TASKS)}"
    raise DataError("the data look like none of the tasks", got=str(path), fix=fix)


def _check_readable(path: Path) -> None:
    """Raise `DataError` where the first text at a path is not UTF-8: no task could see what it holds."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    texts = (file for file in files if file.is_file() and suffix_of(file) in _TEXTS)
    for file in itertools.islice(texts, 3):
        try:
            for _ in itertools.islice(read_lines(file), _LINES):
                pass
        except DataError as error:
            fix = (
                f"Convert it to UTF-8, or say how it is written and what to learn: --encoding latin-1 --task {_ENCODED}"
            )
            raise DataError(error.what, expected=error.expected, got=error.got, where=error.where, fix=fix) from error
