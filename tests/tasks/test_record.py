"""What is read from a run's folder, and what is written down to repeat a run."""

from __future__ import annotations

import json
import platform
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import typer.testing

import rondeau
from rondeau.cli import jobs
from rondeau.cli.main import app
from rondeau.errors import CheckpointError
from rondeau.insight import facts_of
from rondeau.insight.files import read_lines
from rondeau.tasks.language.training import Settings
from rondeau.tasks.record import read_record
from rondeau.tasks.reproduce import command, reproduce
from tests.report.made import fit_run, samples, text_run


@dataclass(frozen=True)
class Asked:
    path: str | None = None
    batch_size: int = 4
    fast: bool = False
    sure: bool = True
    limit: float | None = None
    known: tuple[str, ...] = ()


def test_the_command_says_every_setting() -> None:
    said = command(Asked("a file.txt"), "tagging")
    assert said == "rondeau train 'a file.txt' --task tagging --batch-size 4 --no-fast --sure"
    said = command(Asked(limit=1e-5, known=("a", "b")), "x")
    assert said == "rondeau train --task x --batch-size 4 --no-fast --sure --limit 1e-05 --known a,b"


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(path="my text", cell="gru", learning_rate=3e-4, insight=False, window=7)]
)
def test_the_command_line_reads_it_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Settings] = []
    monkeypatch.setattr(jobs, "train", lambda asked: taken.append(asked.settings))
    done = typer.testing.CliRunner().invoke(app, shlex.split(command(settings, "language_model"))[1:])
    assert done.exit_code == 0, done.output
    assert taken == [settings]


def test_versions_are_written_down() -> None:
    said = reproduce(replace(Settings(), seed=3), "language_model")
    assert "--seed 3" in said["command"]
    assert said["versions"]["rondeau"] == rondeau.__version__
    assert said["versions"]["torch"] == torch.__version__
    assert said["versions"]["python"] == platform.python_version()


def test_everything_in_a_folder_is_read(tmp_path: Path) -> None:
    record = read_record(text_run(tmp_path / "run"))
    assert record.settings["units"] == 256
    assert [line["epoch"] for line in record.history] == [1, 2, 3, 4, 5]
    assert record.results is not None
    assert record.results.own.name == "lstm"
    assert record.samples == samples()
    assert record.no_model == "The run has kept no model."
    assert record.name == "lstm on a <b>text</b>"


def test_a_folder_with_little_in_it(tmp_path: Path) -> None:
    record = read_record(fit_run(tmp_path / "run"))
    assert (record.settings, record.data, record.results, record.written) == ({}, {}, None, None)
    assert record.name == "run"


def test_the_model_is_summarised_where_it_can_be_loaded(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run")
    model = rondeau.Sequential([rondeau.Input((None, 3)), rondeau.layers.LSTM(4)])
    model.save(run / "model")
    record = read_record(run)
    assert record.layers[-1] == ("lstm (LSTM)", "(None, 4)", str(4 * 4 * (3 + 4 + 1)))
    config = json.loads((run / "model" / "config.json").read_text())
    text = json.dumps(config).replace('"LSTM"', '"CellOfMine"')
    (run / "model" / "config.json").write_text(text)
    record = read_record(run)
    assert record.layers == []
    assert record.no_model is not None
    assert "could not be loaded here" in record.no_model


def test_half_a_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    assert read_lines(file) == []
    file.write_text('{"epoch": 1}\n{"epoch": 2, "lo')
    assert read_lines(file) == [{"epoch": 1}]
    file.write_bytes(b'{"epoch": 1}\n{"name": "caf\xc3')
    assert read_lines(file) == [{"epoch": 1}]
    file.write_text('{"epoch": 1}\n{"epoch": \n{"epoch": 3}\n')
    with pytest.raises(CheckpointError, match="line 2"):
        read_lines(file)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", '{"rows": null}'),
        ("results.json", '{"rows": [{}]}'),
        ("results.json", "[]"),
        ("checks.json", "{}"),
        ("inspect.json", '{"measured": {"step": 1}}'),
        ("speed.jsonl", "{}\n"),
    ],
)
def test_damaged_files_are_named(file: str, text: str, tmp_path: Path) -> None:
    folder = fit_run(tmp_path / "run")
    (folder / file).write_text(text)
    with pytest.raises(CheckpointError):
        assert read_record(folder, model=False).measured is None
    if file in ("results.json", "checks.json"):
        with pytest.raises(CheckpointError):
            facts_of(folder)
