"""Figures of translations: sacrebleu's own, of any of the sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from rondeau.tasks.translation.scores import Scored

WRITTEN = ["A dog runs over the grass.", "Two women are laughing loudly!", "", "It isn't the 3.5 km-race."]
TRUE = ["A dog is running over the green grass.", "Two women are laughing.", "Nothing.", "It isn't the 3.5 km-race."]


def test_the_figures_are_those_of_sacrebleu() -> None:
    found = Scored(WRITTEN, TRUE).figures()
    assert found["bleu_13a"] == pytest.approx(BLEU().corpus_score(WRITTEN, [TRUE]).score, rel=1e-12)
    assert found["chrf"] == pytest.approx(CHRF().corpus_score(WRITTEN, [TRUE]).score, rel=1e-12)
    last = "It isn't the 3.5 km - race ."
    written = ["A dog runs over the grass .", "Two women are laughing loudly !", "", last]
    true = ["A dog is running over the green grass .", "Two women are laughing .", "Nothing .", last]
    plain = BLEU(tokenize="none", force=True).corpus_score(written, [true]).score
    assert found["bleu"] == pytest.approx(plain, rel=1e-12)
    assert found["exact_match"] == 0.25
    assert "perplexity" not in found


def test_lower_case_is_compared_where_it_is_asked_for() -> None:
    upper = [text.upper() for text in WRITTEN]
    assert Scored(upper, WRITTEN).figures()["bleu"] < 50
    found = Scored(upper, WRITTEN, lower=True).figures()
    assert [found[name] for name in ("bleu", "bleu_13a", "chrf")] == pytest.approx([100] * 3)
    assert found["exact_match"] == 1


def test_figures_of_some_sentences_are_those_of_the_sentences_alone() -> None:
    logs, tokens = [-3.0, -5.0, -1.0, -2.0], [4, 2, 3, 7]
    scored = Scored(WRITTEN, TRUE, logs, tokens)
    assert scored.figures()["perplexity"] == pytest.approx(math.exp(11 / 16))
    for rows in ([1], [3, 0], [0, 0, 2]):
        of = [[part[i] for i in rows] for part in (WRITTEN, TRUE, logs, tokens)]
        assert scored.figures(np.array(rows)) == pytest.approx(Scored(*of).figures())  # type: ignore[arg-type]


def test_intervals_hold_the_figures_and_shrink_with_sentences() -> None:
    logs, tokens = [-3.0, -5.0, -1.0, -2.0], [4, 2, 3, 7]
    small = Scored(WRITTEN, TRUE, logs, tokens)
    large = Scored(WRITTEN * 25, TRUE * 25, logs * 25, tokens * 25)
    few, many = small.intervals(200), large.intervals(200)
    for name, value in large.figures().items():
        assert many[name][0] <= value <= many[name][1]
        assert many[name][1] - many[name][0] < few[name][1] - few[name][0]


def test_sentences_by_length_add_up() -> None:
    table = Scored(WRITTEN, TRUE).by_length([7, 5, 7, 30])
    assert [row[:2] for row in table["rows"]] == [["5", 1], ["7 to 11", 2], ["12 to 30", 1]]
    assert Scored(WRITTEN, TRUE).by_length([3] * 4)["rows"][0][:2] == ["3", 4]
