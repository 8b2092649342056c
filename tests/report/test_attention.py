"""Attention in reports: squares as strong as the weights, and words for those who do not see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rondeau.report.blocks import Drawing
from rondeau.report.figures.attention import attention_map, strongest
from rondeau.report.figures.drawing import to_svg
from rondeau.report.page import render_section
from rondeau.report.sections.attention import attention
from rondeau.tasks.record import RunRecord

LOOK: dict[str, Any] = {
    "source": ["ein", "Hund", "$", "läuft"],
    "target": ["a", "dog", "runs", "(end)"],
    "weights": [[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0.1, 0, 0.1, 0.8], [0.25, 0.25, 0.25, 0.25]],
}


def test_a_square_is_as_strong_as_its_weight() -> None:
    figure = attention_map(LOOK)
    [axes] = figure.axes
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == (4, 4, 4)
    assert picture[..., 3] == pytest.approx(np.asarray(LOOK["weights"]) ** 0.7)
    assert [label.get_text() for label in axes.get_yticklabels()] == LOOK["target"]
    assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["ein", "Hund"]
    assert "läuft" in to_svg(figure)


def test_letters_stand_upright_and_words_on_end() -> None:
    letters = {"source": list("ab c"), "target": ["1", "(end)"], "weights": [[1, 0, 0, 0], [0, 0, 0, 1]]}
    assert {label.get_rotation() for label in attention_map(letters).axes[0].get_xticklabels()} == {0}
    assert {label.get_rotation() for label in attention_map(LOOK).axes[0].get_xticklabels()} == {90}
    assert attention_map(letters).axes[0].get_xticklabels()[2].get_text() == "␣"


def test_what_each_token_took_most_from_in_words() -> None:
    assert strongest(LOOK) == "a from ein, dog from Hund, runs from läuft, (end) from ein"


def test_a_section_with_a_map_for_each_sentence() -> None:
    record = RunRecord(Path("run"), findings={"attention": [LOOK, LOOK, {"source": [], "target": [], "weights": []}]})
    section = attention(record)
    assert section is not None
    drawings = [block for block in section.blocks if isinstance(block, Drawing)]
    assert [drawing.name for drawing in drawings] == ["attention-1", "attention-2"]
    assert "dog from Hund" in drawings[0].alt
    assert "Hund" in render_section(section, {})
    assert attention(RunRecord(Path("run"))) is None
    assert attention(RunRecord(Path("run"), findings={"attention": []})) is None
