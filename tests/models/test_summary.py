from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

import rondeau
from rondeau import layers
from rondeau.models import summary
from rondeau.models.summary import print_summary, summary_rows, summary_totals


def lines(model: Any, **options: Any) -> list[str]:
    said: list[str] = []
    model.summary(print_fn=said.append, **options)
    return said


def test_shapes_that_are_not_known_yet() -> None:
    model = rondeau.Sequential([layers.LSTM(3), layers.Dense(2)], name="later")
    assert summary_rows(model) == [("lstm (LSTM)", "?", "0 (unbuilt)"), ("dense (Dense)", "?", "0 (unbuilt)")]
    assert summary_totals(model)[0] == "Total params: 0"
    assert "have no weights yet" in lines(model)[-1]
    model.predict(np.zeros((5, 7, 4)))
    assert summary_rows(model) == [("lstm (LSTM)", "(None, 3)", "96"), ("dense (Dense)", "(None, 2)", "8")]
    assert lines(model)[0] == 'Model: "later"'


def test_frozen_and_shared_weights() -> None:
    x = layers.Input((4, 3))
    dense = layers.Dense(3, trainable=False)
    model = rondeau.Model(x, layers.Dense(1)(dense(dense(x))))
    expected = ["Total params: 16", "Trainable params: 4", "Non-trainable params: 12"]
    assert summary_totals(model) == expected
    assert [row[0] for row in summary_rows(model)] == ["input_layer (InputLayer)", "dense (Dense)", "dense_1 (Dense)"]


def test_several_outputs_and_models_inside() -> None:
    x = layers.Input((None, 3))
    states = layers.LSTM(2, return_state=True, return_sequences=True)(x)
    inner = rondeau.Sequential([layers.Input((None, 2)), layers.GRU(5)], name="inner")
    rows = summary_rows(rondeau.Model(x, [inner(states[0]), states[1]]))
    assert rows == [
        ("input_layer (InputLayer)", "(None, None, 3)", "0"),
        ("lstm (LSTM)", "[(None, None, 2), (None, 2), (None, 2)]", "48"),
        ("inner (Sequential)", "(None, 5)", "135"),
    ]


def test_subclassed_models() -> None:
    class Own(rondeau.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(2), layers.Dense(1)

        def forward(self, x: Any) -> Any:
            return self.second(self.first(x))

    model = Own()
    assert [row[1] for row in summary_rows(model)] == ["?", "?"]
    model.predict(np.zeros((3, 4)))
    assert [row[1:] for row in summary_rows(model)] == [("(None, 2)", "10"), ("(None, 1)", "3")]


def test_a_model_without_layers() -> None:
    assert lines(rondeau.Sequential())[-3:] == ["Total params: 0", "Trainable params: 0", "Non-trainable params: 0"]


def test_a_wider_table() -> None:
    said = lines(rondeau.Sequential([layers.Embedding(5, 2)]), line_length=70)
    assert {len(line) for line in said[1:-3]} == {70}


def test_a_frame_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(summary, "Console", lambda width: Console(width=60, force_terminal=True))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_summary(rondeau.Sequential([layers.Embedding(1000, 64), layers.LSTM(128)]), None, None)
    out = capsys.readouterr().out
    assert "Layer (type)" in out
    assert "─" in out
    assert "98816" in out
    assert "Total params: 162,816" in out
