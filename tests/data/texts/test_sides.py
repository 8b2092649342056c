"""Sides of a translation, and the dates the package makes."""

from __future__ import annotations

import json
from datetime import date

import pytest

from rondeau.data.made.dates import dates
from rondeau.data.texts.sides import Side
from rondeau.errors import CheckpointError


@pytest.mark.parametrize("unit", ["words", "characters", "bpe"])
def test_a_side_gives_back_what_it_knows(unit: str) -> None:
    texts = ["the dog is here.", "the dog, the cat."] * 3
    side = Side.learn(texts, unit, pieces=270)
    again = Side.from_json(json.loads(json.dumps(side.to_json())))
    for one in (side, again):
        assert [one.segmenter.join(one.decode(one.encode(text))) for text in texts] == texts
        assert one.encode("zebra's").max() < one.vocabulary.size


def test_rare_words_are_unknown_and_counted() -> None:
    side = Side.learn(["a b", "a c"], min_count=2)
    assert side.encode("a b d").tolist() == [2, 1, 1]
    assert side.unknown_share([side.encode("a b"), side.encode("a a")]) == 0.25
    assert Side.learn(["A a"], lower=True).vocabulary.size == 3


def test_a_damaged_side_is_named() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        Side.from_json({"segmenter": {"kind": "words", "lower": False}})


def test_dates_are_right_and_follow_from_the_seed() -> None:
    made = dates(3, 500)
    assert made == dates(3, 500)
    assert made != dates(4, 500)
    assert len({pair.target for pair in made}) == 500
    for pair in made:
        day = date.fromisoformat(pair.target)
        assert f"{day:%b}" in pair.source
        if "day, " in pair.source:
            assert pair.source.startswith(f"{day:%A}")
    said = {pair.target: pair.source for pair in dates(0, 73_000)}
    ways = ["twelfth of {}", "twentieth of {}", "thirty-first of {}", "second of {}", "{} the ninth"]
    everything = " ".join(said.values())
    assert all(way.format("May") in everything for way in ways)
    assert "two thousand and five" in everything
    assert "nineteen oh six" in everything
    assert "nineteen hundred" in everything
