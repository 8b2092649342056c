from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondeau.data.texts.tokenizer import tokenizer_from_json
from rondeau.data.texts.word_tokenizer import WordTokenizer
from rondeau.errors import ArgumentError, CheckpointError


@given(st.text())
def test_tokens_put_together_are_the_text(text: str) -> None:
    assert "".join(WordTokenizer.split(text)) == text
    words = WordTokenizer.train([text, text], 10_000)
    if "\ufffd" not in text:
        assert words.decode(words.encode(text)) == text


def test_the_most_frequent_come_first_and_single_ones_are_unknown() -> None:
    words = WordTokenizer.train(["a b b b c c", " d b c a"], 100)
    assert words.tokens == ("\ufffd", " b", " c")
    assert words.encode("a b").tolist() == [0, 1]
    assert words.encode("a b").dtype == np.int64
    assert WordTokenizer.train("b b b c c", 2).tokens == ("\ufffd", " b")
    assert WordTokenizer.train("once only", 10).size == 3  # nothing came twice


def test_it_comes_back_from_json_and_streams() -> None:
    words = WordTokenizer.train("the cat, the cat's hat; the cat, the cat's hat", 50)
    again = tokenizer_from_json(json.loads(json.dumps(words.to_json())))
    assert isinstance(again, WordTokenizer)
    assert again.tokens == words.tokens
    stream = again.decode_stream()
    assert "".join(stream.push(int(id)) for id in again.encode(" the cat's")) + stream.flush() == " the cat's"


def test_mistakes_are_named() -> None:
    with pytest.raises(ArgumentError, match="2 or more"):
        WordTokenizer.train("a a", 1)
    with pytest.raises(ArgumentError, match="distinct"):
        WordTokenizer(["a", "a"])
    with pytest.raises(CheckpointError, match="damaged"):
        tokenizer_from_json({"kind": "words", "words": ["a", "a"]})
