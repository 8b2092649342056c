"""Tokenizers: lossless, deterministic, saved as JSON, decoded one id at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rondeau.data.texts.tokenizer as module
from rondeau.data.texts.tokenizer import BPETokenizer, CharacterTokenizer, Tokenizer, tokenizer_from_json
from rondeau.errors import ArgumentError, CheckpointError, DataError, MissingExtraError

SAMPLE = "the cat sat\non the mat;\n the cat's hat — naïve 🎉 日本語 e\u0301\n\n  the end\r\n" * 4
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def characters() -> CharacterTokenizer:
    return CharacterTokenizer.train(SAMPLE)


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    pytest.importorskip("tokenizers")
    return BPETokenizer.train(SAMPLE, 300)


@pytest.fixture(params=["characters", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_protocol(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(SAMPLE)
    assert ids.dtype == np.int64
    assert ids.ndim == 1
    assert ids.min() >= 0
    assert ids.max() < tokenizer.size == len(tokenizer.tokens)
    assert tokenizer.decode(ids) == tokenizer.decode(ids.tolist()) == SAMPLE
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("").dtype == np.int64
    assert tokenizer.decode([]) == ""


def test_characters_are_ordered_by_code_point() -> None:
    tokenizer = CharacterTokenizer.train("béa🎉a")
    assert tokenizer.tokens == ("\ufffd", "a", "b", "é", "🎉")
    assert tokenizer.encode("aé🎉b").tolist() == [1, 3, 4, 2]


@pytest.mark.parametrize("text", ["c", "é", "\uffff", "\U0010ffff", "\ufffd"])
def test_unseen_characters_are_unknown(text: str) -> None:
    tokenizer = CharacterTokenizer.train("ab")
    assert tokenizer.unknown == 0
    assert tokenizer.encode(f"a{text}b").tolist() == [1, 0, 2]
    assert tokenizer.decode([1, 0, 2]) == "a\ufffdb"


def test_replacement_character_in_training_text_is_the_unknown_one() -> None:
    tokenizer = CharacterTokenizer.train("a\ufffdb")
    assert tokenizer.tokens == ("\ufffd", "a", "b")
    assert tokenizer.decode(tokenizer.encode("b\ufffda")) == "b\ufffda"


def test_undecodable_command_line_is_unknown() -> None:
    assert CharacterTokenizer.train("ab").encode("a\udcffb").tolist() == [1, 0, 2]


def test_training_text_of_nothing_known() -> None:
    assert CharacterTokenizer.train("").encode("ab\0").tolist() == [0, 0, 0]


@given(UNICODE, UNICODE)
def test_characters_agree_with_a_dictionary(train: str, text: str) -> None:
    tokenizer = CharacterTokenizer.train(train)
    known = {c: i for i, c in enumerate(tokenizer.tokens)}
    assert tokenizer.encode(text).tolist() == [known.get(c, 0) for c in text]
    assert tokenizer.decode(tokenizer.encode(text)) == "".join(c if c in known else "\ufffd" for c in text)


@pytest.mark.parametrize("wrong", [["ab"], ["a", "a"], ["\ufffd"], [""]])
def test_vocabulary_of_no_characters(wrong: list[str]) -> None:
    with pytest.raises(ArgumentError, match="single, distinct"):
        CharacterTokenizer(wrong)


@settings(deadline=None)
@given(text=UNICODE)
def test_bpe_is_lossless(bpe: BPETokenizer, text: str) -> None:
    assert bpe.unknown is None
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    stream = bpe.decode_stream()
    assert "".join(map(stream.push, ids.tolist())) + stream.flush() == text


def test_bpe_learns_pieces(bpe: BPETokenizer) -> None:
    assert bpe.size <= 300
    assert " the" in bpe.tokens
    assert len(bpe.encode(SAMPLE)) < 0.7 * len(SAMPLE.encode())


def test_in_another_process(bpe: BPETokenizer) -> None:
    code = """
import json, sys
from rondeau.data.texts.tokenizer import BPETokenizer, CharacterTokenizer
CharacterTokenizer.train("a").encode("a")
loaded = "tokenizers" in sys.modules
print(json.dumps([loaded, BPETokenizer.train(json.loads(sys.argv[1]), 300).to_json()]))
"""
    run = subprocess.run([sys.executable, "-c", code, json.dumps(SAMPLE)], capture_output=True, text=True, check=True)
    loaded, learned = json.loads(run.stdout)
    assert not loaded  # characters do without the library
    assert learned == bpe.to_json()


def test_bpe_of_a_small_text_is_smaller() -> None:
    pytest.importorskip("tokenizers")
    assert BPETokenizer.train("ab ab", 5000).size == 257
    assert BPETokenizer.train("", 256).size == 256


def test_bpe_in_chunks_gives_the_same_ids(bpe: BPETokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bpe.encode(SAMPLE)
    monkeypatch.setattr(module, "_CHUNK", 7)
    assert len(list(module._chunks(SAMPLE))) > 4
    assert np.array_equal(bpe.encode(SAMPLE), whole)
    assert BPETokenizer.train(SAMPLE, 300).to_json() == bpe.to_json()


@settings(deadline=None)
@given(text=st.text("ab'. \n\r\té—") | UNICODE)
def test_chunks_cut_no_piece(bpe: BPETokenizer, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = bpe.encode(text)
        patch.setattr(module, "_CHUNK", 1)
        assert "".join(module._chunks(text)) == text
        assert np.array_equal(bpe.encode(text), whole)


def test_bpe_needs_room_for_the_bytes() -> None:
    with pytest.raises(ArgumentError, match="at least 256, got 255"):
        BPETokenizer.train("text", 255)


def test_bpe_refuses_a_lone_surrogate(bpe: BPETokenizer) -> None:
    with pytest.raises(DataError, match=r"surrogate \(at character 2\).*U\+DCFF"):
        bpe.encode("ab\udcff")
    with pytest.raises(DataError, match="surrogate"):
        BPETokenizer.train("ab\udcff", 256)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rondeau\[text\]'"):
        BPETokenizer.train("text", 300)


# One id at a time


def test_stream_yields_whole_characters(bpe: BPETokenizer) -> None:
    ids = [bpe.tokens.index(f"\\x{byte:02x}") for byte in "🎉".encode()]
    stream = bpe.decode_stream()
    assert [stream.push(i) for i in ids] == ["", "", "", "🎉"]
    assert stream.flush() == ""


def test_stream_ends_inside_a_character(bpe: BPETokenizer) -> None:
    stream = bpe.decode_stream()
    ids = [bpe.tokens.index(f"\\x{byte:02x}") for byte in "🎉".encode()[:2]]
    assert [stream.push(i) for i in ids] == ["", ""]
    assert stream.flush() == "\ufffd" == bpe.decode(ids)


@settings(deadline=None)
@given(data=st.data())
def test_stream_agrees_with_decode_on_any_ids(bpe: BPETokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, bpe.size - 1)))
    stream = bpe.decode_stream()
    assert "".join(map(stream.push, ids)) + stream.flush() == bpe.decode(ids)


def test_character_stream(characters: CharacterTokenizer) -> None:
    stream = characters.decode_stream()
    assert [stream.push(int(i)) for i in characters.encode("té🎉")] == ["t", "\ufffd", "🎉"]
    assert stream.flush() == ""


# Wrong ids


def test_ids_of_any_integers_become_int64() -> None:
    for given_ids in (np.array([2, 0], np.uint8), [2, 0], (2, 0)):
        ids = module.checked_ids(given_ids, 3)
        assert ids.dtype == np.int64
        assert ids.tolist() == [2, 0]


@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_id_outside_the_vocabulary(tokenizer: Tokenizer, wrong: int) -> None:
    with pytest.raises(DataError, match=rf"outside the vocabulary \(at position 2\).*got {wrong}"):
        tokenizer.decode([0, 1, wrong])
    with pytest.raises(DataError, match="outside the vocabulary"):
        tokenizer.decode_stream().push(wrong)


@pytest.mark.parametrize("wrong", [[[0, 1]], [0.5], ["a"]])
def test_ids_of_the_wrong_kind(tokenizer: Tokenizer, wrong: list[Any]) -> None:
    with pytest.raises(DataError, match="wrong kind"):
        tokenizer.decode(wrong)


# Saving


def test_json_round_trip(tokenizer: Tokenizer) -> None:
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert type(again) is type(tokenizer)
    assert again.tokens == tokenizer.tokens
    assert again.to_json() == tokenizer.to_json()
    assert np.array_equal(again.encode(SAMPLE + "new ß"), tokenizer.encode(SAMPLE + "new ß"))


@pytest.mark.parametrize("wrong", [[], None, {}, {"kind": "syllables"}, {"kind": []}])
def test_json_of_unknown_kind(wrong: Any) -> None:
    with pytest.raises(CheckpointError, match="damaged vocabulary: unknown kind"):
        tokenizer_from_json(wrong)


@pytest.mark.parametrize("wrong", [None, "ab", ["a", 1], ["a", "a"], ["ab"]])
def test_damaged_characters(wrong: Any) -> None:
    with pytest.raises(CheckpointError, match="damaged vocabulary"):
        tokenizer_from_json({"kind": "characters", "characters": wrong})


@pytest.mark.parametrize(
    "damage",
    [
        {"tokens": None},
        {"tokens": ["a", "b"]},
        {"merges": None},
        {"merges": [["a"]]},
        {"merges": [["a", 1]]},
        {"merges": [["q", "q"]]},
        {"merges": [["", "a"]]},
        {"tokens": ["a"], "merges": []},
        {"kind": "characters"},
    ],
)
def test_damaged_bpe(bpe: BPETokenizer, damage: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="damaged vocabulary"):
        BPETokenizer.from_json({**bpe.to_json(), **damage})


@pytest.mark.parametrize("extra", ["a", "日"])
def test_damaged_bpe_tokens(bpe: BPETokenizer, extra: str) -> None:
    data = bpe.to_json()
    with pytest.raises(CheckpointError, match="distinct tokens over all 256 bytes"):
        BPETokenizer.from_json({**data, "tokens": [*data["tokens"], extra]})
