from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rondeau.errors import CheckpointError
from rondeau.insight.results import Metric, Results, Row, results_from_json

ACCURACY, LOSS = Metric("accuracy", percent=True), Metric("log_loss", higher=False)
RESULTS = Results(
    [ACCURACY, LOSS],
    [
        Row("majority", None, {"accuracy": 0.5}),
        Row("words", 90, {"accuracy": 0.75, "log_loss": 0.5}, {"accuracy": (0.7, 0.8)}),
        Row("lstm", 800, {"accuracy": 0.8, "log_loss": 0.6}),
    ],
    notes=["small"],
)


def test_it_reads_what_it_wrote() -> None:
    assert results_from_json(json.loads(json.dumps(RESULTS.to_json())), Path("results.json")) == RESULTS


def test_the_gain_is_over_the_best_baseline_and_above_0_where_the_model_is_better() -> None:
    assert RESULTS.best_baseline() == RESULTS.rows[1]
    assert RESULTS.gain() == pytest.approx(0.05)
    by_loss = Results([LOSS, ACCURACY], RESULTS.rows)
    assert by_loss.gain() == pytest.approx(-0.1)
    assert Results([LOSS], RESULTS.rows[-1:]).gain() is None


def test_figures_are_written_as_the_metric_says() -> None:
    assert ACCURACY.show(0.8761) == "87.6 %"
    assert ACCURACY.show_with(0.8761, (0.85, 0.9)) == "87.6 % (85.0–90.0)"
    assert LOSS.show(0.12345) == "0.123"
    assert LOSS.show(None) == LOSS.show(float("nan")) == "–"
    assert LOSS.word == "log loss"


def test_the_table_of_an_older_language_model_is_read() -> None:
    rows = [{"name": "unigram", "parameters": 9, "bits_per_character": 4.5}]
    found = results_from_json({"text": "held-out test text", "rows": rows}, Path("results.json"))
    assert found.metric == Metric("bits_per_character", higher=False)
    assert found.own == Row("unigram", 9, {"bits_per_character": 4.5})


@pytest.mark.parametrize(
    "damaged",
    [{}, {"rows": [1]}, {"metrics": [], "rows": [], "where": "", "notes": []}, {**RESULTS.to_json(), "rows": [{}]}],
)
def test_damaged_tables_are_named(damaged: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"here\.json"):
        results_from_json(damaged, Path("here.json"))
