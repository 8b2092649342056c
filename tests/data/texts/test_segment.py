"""Segmentation: what is a word, and the way back."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rondeau.data.texts import segment
from rondeau.data.texts.segment import Segmenter
from rondeau.errors import ArgumentError, CheckpointError

WORDS = {
    "It isn't 3.5 stars -- it's 1,000!!": ["It", "isn't", "3.5", "stars", "--", "it's", "1,000", "!!"],
    "well-made (2:1). end...": ["well", "-", "made", "(", "2:1", ")", ".", "end", "..."],
    "l\u2019\u00e9t\u00e9 'quoted'": ["l\u2019\u00e9t\u00e9", "'", "quoted", "'"],
    "e\u0301tude": ["\u00e9tude"],
    "\u0939\u093f\u0928\u094d\u0926\u0940 x": ["\u0939\u093f\u0928\u094d\u0926\u0940", "x"],
    "\u4e2d\u6587ABC": ["\u4e2d", "\u6587", "ABC"],
    "\U0001f44d\U0001f3fd!": ["\U0001f44d\U0001f3fd", "!"],
    "\U0001f469\u200d\U0001f680 a": ["\U0001f469\u200d\U0001f680", "a"],
    "v2.0 3rd 1.5x": ["v2", ".", "0", "3rd", "1", ".", "5x"],
    " \t\n": [],
}


@pytest.mark.parametrize("text", WORDS)
def test_words(text: str) -> None:
    assert Segmenter().split(text) == WORDS[text]


@given(st.text(st.sampled_from("aZ_0 9'.,:-!?*=~#$(\n\t\x00\x1c\x7f"), max_size=30))
@example("rock'n'roll 1.2,3 a.b ... 'x' 4.5x")
def test_plain_text_gives_the_tokens_that_any_text_does(text: str) -> None:
    assert Segmenter().split(text) == segment._words().findall(text)


def test_nothing_visible_is_lost() -> None:
    text = "a_b \u0301 \u200d \ud83d \x00 \x85 $5.00 \u20ac \u0e20\u0e32\u0e29\u0e32 #tag @me http://x.y/z?q=1"
    assert "".join(Segmenter().split(text)) == "".join(text.split())


def test_words_join_with_ordinary_spacing() -> None:
    assert Segmenter().join(["He", "said", "(", "twice", ")", ",", "no", "!"]) == "He said (twice), no!"


def test_characters_and_pieces_give_back_the_very_text() -> None:
    text = "Nai\u0308ve \u4e2d!  two\nlines \U0001f44d"
    assert (characters := Segmenter("characters")).join(characters.split(text)) == text
    pytest.importorskip("tokenizers")
    pieces = Segmenter.train(["the cat and the hat", "the mat"] * 5, "bpe", vocabulary_size=270)
    assert pieces.join(pieces.split(text)) == text
    assert len(pieces.split("the the")) < len("the the") // 2
    assert pieces.join(["no piece", "a"]) == "\ufffda"


def test_lower_case() -> None:
    assert Segmenter(lower=True).split("\u00c4B \u0130") == ["\u00e4b", "i\u0307"]
    assert Segmenter("characters", lower=True).split("AB") == ["a", "b"]


@pytest.mark.parametrize("kind", ["words", "characters", "bpe"])
def test_through_json(kind: str) -> None:
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    segmenter = Segmenter.train(["some words, some more words"] * 3, kind, lower=True, vocabulary_size=260)
    again = Segmenter.from_json(json.loads(json.dumps(segmenter.to_json())))
    assert again.to_json() == segmenter.to_json()
    assert again.split("Some new Words") == segmenter.split("Some new Words")


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"expected words \| characters \| bpe, got syllables"):
        Segmenter("syllables")
    with pytest.raises(ArgumentError, match=r"Segmenter\.train"):
        Segmenter("bpe")
    for data in ({"kind": "words"}, {"kind": "bpe", "lower": True}, {"kind": "syllables", "lower": True}, []):
        with pytest.raises(CheckpointError, match="damaged segmenter"):
            Segmenter.from_json(data)  # type: ignore[arg-type]
