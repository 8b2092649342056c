"""A run's folder: what was asked, on which data, and all that came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rondeau.data.disk.cache import written_aside
from rondeau.data.texts.tokenizer import BPETokenizer, CharacterTokenizer, tokenizer_from_json
from rondeau.data.texts.word_tokenizer import WordTokenizer
from rondeau.errors import CheckpointError
from rondeau.insight import checks
from rondeau.insight import files as insight
from rondeau.models.saving import load
from rondeau.tasks import lock
from rondeau.training.files import write_atomically
from rondeau.training.provenance import FORMAT, VERSION


class RunFolder:
    """Paths and files of a run.

    `config.json`: task, settings and the data's digest; `vocabulary.json` of a language model, for other tasks
    `prepared.json`: all that was learnt from the training part before the model; `model/`: configuration and best
    weights, as `Model.save` writes them; `checkpoint.safetensors`: all that resuming needs; `history.jsonl`: a line an
    epoch; `speed.jsonl`: likewise, apart since no seed repeats it; `insight.jsonl`: a line for each training step that
    was sampled; `inspect.json`: what `rondeau inspect` found; `checks.json`: what the model makes of its input and the
    past; `results.json`: the table; `findings.json`: what the task tells of its answers; `predictions.jsonl`: those on
    the test part; `samples.txt`; `report.html`. While a process trains, it holds `.lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.vocabulary = path / "config.json", path / "vocabulary.json"
        self.prepared, self.findings = path / "prepared.json", path / "findings.json"
        self.predictions = path / "predictions.jsonl"
        self.model, self.checkpoint = path / "model", path / "checkpoint.safetensors"
        self.history, self.speed = path / "history.jsonl", path / "speed.jsonl"
        self.insight, self.inspected = path / insight.FILE, path / "inspect.json"
        self.checks = path / checks.FILE
        self.results = path / "results.json"
        self.samples, self.report = path / "samples.txt", path / "report.html"

    def composed(self, number: int) -> Path:
        """A MIDI file that the model wrote."""
        return self.path / f"composed_{number}.mid"

    @classmethod
    def create(cls, path: Path, overwrite: bool) -> RunFolder:
        """A new folder. Raises `CheckpointError` for one that exists, unless `overwrite`; then its run's files go, and
        it is an error that another process works on it."""
        run = cls(path)
        if path.exists() and (not path.is_dir() or any(file.name != lock.FILE for file in path.iterdir())):
            if not overwrite:
                fix = f"Choose another with --out, go on with --resume {path}, or pass --overwrite"
                raise CheckpointError("the run folder exists", where=path, fix=fix)
            if not run.config.exists():
                fix = "Delete it yourself if you mean it, or choose another with --out"
                raise CheckpointError("the folder to overwrite is not a run of Rondeau", where=path, fix=fix)
            run.hold()
            run._clear()
            run.release()
        path.mkdir(parents=True, exist_ok=True)
        return run

    def _clear(self) -> None:
        for file in (
            self.config,
            self.vocabulary,
            self.checkpoint,
            self.history,
            self.speed,
            self.insight,
            self.inspected,
            self.checks,
            self.results,
            self.prepared,
            self.findings,
            self.predictions,
            self.samples,
            self.report,
            *self.path.glob("composed_*.mid"),
        ):
            file.unlink(missing_ok=True)
        if self.model.is_dir():
            for file in self.model.iterdir():
                file.unlink()
            self.model.rmdir()

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises `CheckpointError` for a folder that is none, damaged, or too new."""
        run = cls(path)
        if not run.config.is_file():
            raise CheckpointError("there is no run", where=path, expected="a folder that `rondeau train` wrote")
        config = run.read_json(run.config)
        if config.get("format") != FORMAT:
            raise CheckpointError("the folder is not a run of Rondeau", where=run.config)
        if config["version"] > VERSION:
            fix = "Upgrade: pip install -U rondeau"
            raise CheckpointError("the run was written by a newer Rondeau", got=config["version"], where=path, fix=fix)
        return run

    def hold(self) -> None:
        """Take the run for this process. Raises `CheckpointError` where another works on it."""
        lock.hold(self.path)

    def release(self) -> None:
        """Let go of the run, so that other processes may go on with it or replace it."""
        lock.release(self.path)

    @property
    def task(self) -> str:
        """The task's name; `language_model` for a run from before there were others."""
        return str(self.read_json(self.config).get("task", "language_model"))

    def remove_leftovers(self) -> None:
        """Delete what a killed process had begun to write aside; only whoever goes on with the run may do so."""
        for file in (
            self.checkpoint,
            self.history,
            self.speed,
            self.insight,
            self.results,
            self.model / "weights.safetensors",
        ):
            for aside in file.parent.glob(f".{file.name}.*"):
                aside.unlink()

    def write_json(self, file: Path, data: Any) -> None:
        """JSON, atomically."""
        write_atomically(file, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())

    def write_lines(self, file: Path, records: Iterable[dict[str, Any]]) -> None:
        """One JSON record a line, as they come; the file stands there whole, or not at all."""
        with written_aside(file) as aside, aside.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(json.dumps(record) + "\n" for record in records)

    def read_json(self, file: Path) -> dict[str, Any]:
        """A JSON object. Raises `CheckpointError` where it is missing or damaged."""
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError("a file of the run is missing or damaged", where=file, got=error) from error
        if not isinstance(data, dict):
            raise CheckpointError("a file of the run is damaged", where=file, expected="a JSON object")
        return data

    def read_lines(self, file: Path) -> list[dict[str, Any]]:
        """What `write_lines` wrote."""
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def tokenizer(self) -> CharacterTokenizer | BPETokenizer | WordTokenizer:
        """The run's vocabulary."""
        return tokenizer_from_json(self.read_json(self.vocabulary))

    def load_model(self) -> Any:
        """The run's best model so far. Raises `CheckpointError` while there is none."""
        if not self.model.is_dir():
            fix = f"Let it finish an epoch: rondeau train --resume {self.path}"
            raise CheckpointError("the run has no model yet", where=self.path, fix=fix)
        return load(self.model)
