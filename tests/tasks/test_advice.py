from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from rondeau.cli.advice import show_advice
from rondeau.errors import CheckpointError
from rondeau.insight.advice import Advice
from rondeau.insight.checks import checks_from_json
from rondeau.models.language_model import language_model
from rondeau.report.html import write_report
from rondeau.tasks.advice import advice_of, check_run
from rondeau.tasks.record import read_record
from rondeau.tasks.run_folder import RunFolder

TOKENS = 5


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run with a model that has learnt nothing."""
    run = RunFolder.create(tmp_path / "run", overwrite=False)
    run.write_json(
        run.config, {"format": "rondeau-run", "version": 1, "settings": {"units": 4, "window": 8}, "data": {}}
    )
    torch.manual_seed(0)
    model = language_model(TOKENS, "gru", 4, embedding=3)
    model(torch.zeros(1, 2, dtype=torch.int64))
    model.save(run.model, include_optimizer=False)
    losses = [1.6, 1.6, 1.6, 1.6, 1.6]
    run.write_lines(run.history, [{"epoch": n + 1, "loss": loss, "val_loss": loss} for n, loss in enumerate(losses)])
    rows = [
        {"name": name, "parameters": 1, "bits_per_character": bits} for name, bits in (("unigram", 2.0), ("gru", 2.3))
    ]
    run.write_json(run.results, {"rows": rows})
    return run


def ids(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, TOKENS, count)


def test_a_run_is_checked_and_advised(run: RunFolder) -> None:
    checks = check_run(run, ids(1000), "cpu")
    assert checks is not None
    assert checks.steps == 128
    assert [span for span, _ in checks.recent] == [1, 4, 16, 64]
    assert checks_from_json(json.loads(run.checks.read_text())) == checks
    found = {one.rule: one for one in advice_of(run)}
    assert {"baselines", "ignores_input", "underfitting"} <= found.keys()
    assert "gru: bits per character 2.300; unigram: 2.000" in found["baselines"].text
    assert found["underfitting"].fix is not None
    assert "--units 8" in found["underfitting"].fix
    assert read_record(run.path).advice == advice_of(run)


def test_the_report_holds_the_advice(run: RunFolder) -> None:
    page = write_report(run.path).read_text()
    assert "A simpler model is as good" in page
    assert 'href="#figure-baselines"' in page


def test_a_text_too_short_to_check(run: RunFolder) -> None:
    assert check_run(run, ids(4), "cpu") is None
    assert not run.checks.exists()
    checks = check_run(run, ids(9), "cpu")
    assert checks is not None
    assert checks.steps == 4


def test_a_run_that_is_begun_again_loses_its_checks(run: RunFolder) -> None:
    check_run(run, ids(200), "cpu")
    assert run.checks.exists()
    RunFolder.create(run.path, overwrite=True)
    assert not run.checks.exists()


def test_checks_need_a_model(run: RunFolder) -> None:
    for file in run.model.iterdir():
        file.unlink()
    run.model.rmdir()
    with pytest.raises(CheckpointError, match="no model yet"):
        check_run(run, ids(200), "cpu")


def shown(advice: list[Advice]) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    show_advice(console, advice)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_advice_on_a_terminal() -> None:
    one = Advice(
        "vanishing", "problem", "The gradient vanishes", "It halves every 6 steps [sic].", "--cell lstm", "flow"
    )
    text = shown([one, replace(one, severity="good", title="Fine", fix=None)])
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "advice"
    assert lines[1] == "problem The gradient vanishes"
    assert "It halves every 6 steps [sic]." in lines[2]
    assert lines[3].strip() == "→ --cell lstm"
    assert lines[4] == "good    Fine"
    assert text.count("→") == 1
    assert shown([]) == ""
