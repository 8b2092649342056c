from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rondeau.data.texts.vocabulary import PADDING, UNKNOWN, Vocabulary
from rondeau.errors import ArgumentError, CheckpointError, DataError


@given(st.lists(st.lists(st.text(max_size=4), max_size=6), max_size=8))
def test_what_it_was_built_from_comes_back(sequences: list[list[str]]) -> None:
    words = Vocabulary.build(sequences)
    words = Vocabulary.from_json(json.loads(json.dumps(words.to_json())))
    for sequence in sequences:
        ids = words.encode(sequence)
        assert ids.dtype == np.int64
        assert words.decode(ids) == sequence
        assert not {PADDING, UNKNOWN} & set(ids.tolist())


def test_frequent_tokens_come_first_and_rare_ones_are_unknown() -> None:
    words = Vocabulary.build([["b", "b", "a", "a", "c", "d", "d", "d"]], min_count=2)
    assert words.tokens[2:] == ("d", "a", "b")
    assert words.encode(["c", "d"]).tolist() == [UNKNOWN, 2]
    assert "c" not in words
    assert Vocabulary.build([["b", "b", "a"]], size=3).tokens[2:] == ("b",)


def test_mistakes_are_named() -> None:
    words = Vocabulary(["a"])
    with pytest.raises(DataError, match="0 to 2"):
        words.decode([3])
    with pytest.raises(ArgumentError, match="each there once"):
        Vocabulary(["a", "a"])
    with pytest.raises(CheckpointError, match="damaged"):
        Vocabulary.from_json({"tokens": [1]})
