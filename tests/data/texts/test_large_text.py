"""Large texts: what is read in blocks is what would be read whole, held-out text is held out, nothing is made twice."""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondeau.data.texts import large_text as module
from rondeau.data.texts.large_text import (
    LongText,
    Passage,
    encode_large,
    read_large_text,
    read_passage,
    size_of,
    train_on_large,
)
from rondeau.data.texts.text import SEPARATOR, read_text
from rondeau.data.texts.tokenizer import BPETokenizer, CharacterTokenizer
from rondeau.errors import ArgumentError, DataError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONDEAU_CACHE", str(tmp_path / "cache"))


def _text(lines: int, seed: int = 0) -> str:
    words = random.Random(seed)
    return "".join(
        " ".join(words.choice(["été", "bird", "see", "—", "the", "on"]) for _ in range(words.randint(1, 20))) + "\n"
        for _ in range(lines)
    )


def _file(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@given(text=st.text(st.sampled_from("aé\U0001f600\r\n"), max_size=40), block=st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_are_the_text(tmp_path: Path, text: str, block: int) -> None:
    path = _file(tmp_path / "a.txt", "\ufeff" + text)
    with mock.patch.object(module, "_BLOCK", block):
        read = list(read_passage(Passage(path, 0, path.stat().st_size)))
    assert "".join(part for part, _ in read) == text.replace("\r\n", "\n")
    assert sum(size for _, size in read) == path.stat().st_size


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.0, 0.3), (0.2, 0.0)])
def test_a_file_s_end_is_held_out(tmp_path: Path, shares: tuple[float, float]) -> None:
    path = _file(tmp_path / "a.txt", _text(3000))
    with mock.patch.object(module, "_BLOCK", 1000):
        split = read_large_text(path, *shares)
        train = "".join(split.train.blocks())
    (document,) = read_text(path)
    assert train + split.validation + split.test == document.text
    assert len(split.train) == len(train)
    for part, share in zip(split[1:], shares, strict=True):
        assert len(part.encode()) == pytest.approx(share * path.stat().st_size, abs=300)  # a line or two
        assert not part or part.endswith("\n")
    assert train.endswith("\n")


def test_of_a_large_text_no_more_is_held_out_than_is_of_use(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", _text(3000))
    with mock.patch.object(module, "HELD_OUT", 2000):
        split = read_large_text(path, 0.2, 0.2)
    assert len(split.validation.encode()) == pytest.approx(2000, abs=300)
    assert len(split.test.encode()) == pytest.approx(2000, abs=300)


def test_a_text_without_lines_is_cut_between_characters(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", "é" * 5001)
    split = read_large_text(path, 0.1, 0.1)
    assert "".join(split.train.blocks()) + split.validation + split.test == "é" * 5001


def test_whole_documents_are_held_out_where_there_are_many(tmp_path: Path) -> None:
    texts = [_text(30, seed) for seed in range(40)]
    for number, text in enumerate(texts):
        _file(tmp_path / "many" / f"{number}.txt", text)
    _file(tmp_path / "many" / "picture.png", b"\x89PNG\0\0")
    _file(tmp_path / "many" / ".hidden", "no")
    split = read_large_text(tmp_path / "many", 0.1, 0.1)
    parts = ["".join(split.train.blocks()), split.validation, split.test]
    held = [sorted(text for text in texts if text in part) for part in parts]
    assert sorted(text for own in held for text in own) == sorted(texts)
    assert len(held[1]) == pytest.approx(4, abs=2)
    for part, own in zip(parts, held, strict=True):
        assert len(part) == sum(map(len, own)) + len(SEPARATOR) * (len(own) - 1)
    assert read_large_text(tmp_path / "many", 0.1, 0.1, seed=1).test != split.test


def test_few_documents_are_joined_and_their_end_held_out(tmp_path: Path) -> None:
    texts = [_text(300, seed) for seed in range(3)]
    for number, text in enumerate(texts):
        _file(tmp_path / "few" / f"{number}.txt", text)
    split = read_large_text(tmp_path / "few", 0.2, 0.3)
    train = "".join(split.train.blocks())
    assert train.startswith(texts[0] + SEPARATOR)
    assert SEPARATOR.join(texts).endswith(split.test)
    assert split.validation in texts[1] + SEPARATOR + texts[2]


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_ids_are_those_of_the_whole_text(tmp_path: Path, kind: str) -> None:
    if kind == "bpe":
        pytest.importorskip("tokenizers")
    path = _file(tmp_path / "a.txt", _text(2000))
    with mock.patch.object(module, "_BLOCK", 700):
        split = read_large_text(path)
        tokenizer = train_on_large(split.train, kind, 300)
        train, validation, test = encode_large(split, tokenizer)
        whole = "".join(split.train.blocks())
    assert isinstance(tokenizer, CharacterTokenizer if kind == "characters" else BPETokenizer)
    if kind == "characters":
        assert tokenizer.tokens == CharacterTokenizer.train(whole).tokens
        assert train.dtype == np.uint8
    np.testing.assert_array_equal(train, tokenizer.encode(whole))
    np.testing.assert_array_equal(validation, tokenizer.encode(split.validation))
    assert tokenizer.decode(test) == split.test


@pytest.mark.parametrize("text", ["ab \n\ncd \n ef", "ab\n\n\ncd", "a\nb\n \n", "abc", "\n\n", " \n a"])
def test_no_word_and_no_run_of_blanks_is_cut(text: str) -> None:
    """Blanks that stand together, line breaks among them, can be one piece."""
    end = module._seam(text)
    assert end == 0 or (text[end] == "\n" and not text[end - 1].isspace())
    assert (end > 0) == bool(re.search(r"\S\n", text))


def test_pieces_come_from_all_over_the_text(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = _file(tmp_path / "a.txt", "abab\n" * 3000 + "cdcd\n" * 3000)
    split = read_large_text(path, 0, 0)
    with mock.patch.object(module, "LEARNT_FROM", 1600):
        tokens = train_on_large(split.train, "bpe", 258).tokens
    assert set(tokens[256:]) == {"ab", "cd"}


def test_nothing_is_made_twice_and_a_change_is_seen(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.txt", _text(500))
    split = read_large_text(path)
    ids = encode_large(split, train_on_large(split.train, "characters", 0))[0]
    refused = mock.Mock(side_effect=AssertionError("again"))
    with mock.patch.object(LongText, "survey", refused), mock.patch.object(LongText, "pieces", refused):
        again = read_large_text(path)
        assert (again.train.digest, len(again.train)) == (split.train.digest, len(split.train))
        assert encode_large(again, train_on_large(again.train, "characters", 0))[0].tolist() == ids.tolist()
        _file(path, _text(500, seed=1))
        with pytest.raises(AssertionError):
            read_large_text(path)
    assert read_large_text(path).train.digest != split.train.digest


def test_held_out_lines_in_the_training_text_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = "a line that stands in both of the parts of this text\n"
    path = _file(tmp_path / "a.txt", line + _text(500) + line)
    split = read_large_text(path)
    for _ in range(2):  # from the cache too
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            encode_large(split, train_on_large(split.train, "characters", 0))
        assert "1 of " in caplog.text
        assert line.strip() in caplog.text


def test_the_size_decides(tmp_path: Path) -> None:
    _file(tmp_path / "t" / "a.txt", "abc")
    _file(tmp_path / "t" / "b" / "c.txt", "de")
    _file(tmp_path / "t" / ".git" / "d", "hidden")
    assert (size_of(tmp_path / "t"), size_of(tmp_path / "t" / "a.txt"), size_of(tmp_path / "none")) == (5, 3, 0)


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    bad = _file(tmp_path / "bad.txt", "é".encode() * 100 + b"\xff" + b"x" * 50)
    with (
        pytest.raises(DataError, match=r"not UTF-8 text.*byte 0xff at offset 200"),
        mock.patch.object(module, "_BLOCK", 33),
    ):
        read_large_text(bad, 0, 0)
    binary = _file(tmp_path / "binary.txt", b"a" * 100 + b"\0")
    with pytest.raises(DataError, match="NUL byte at offset 100"), mock.patch.object(module, "_BLOCK", 33):
        read_large_text(binary, 0, 0)
    with pytest.raises(ArgumentError, match="below 1 together"):
        read_large_text(binary, 0.5, 0.5)
    _file(tmp_path / "none" / "a.png", b"\0")
    with pytest.raises(DataError, match="no text in the folder"):
        read_large_text(tmp_path / "none")
