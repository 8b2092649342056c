"""Text to tokens, as strings, and back: words and punctuation, characters, or byte-pair pieces."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from rondeau.data.texts.tokenizer import BPETokenizer
from rondeau.errors import ArgumentError, CheckpointError

KINDS = ("words", "characters", "bpe")
PIECES = 8000
"""Byte-pair pieces that are learnt unless another number is given."""

_MOST = 20_000_000  # characters that byte-pair pieces are learnt from: more hardly changes them
_SINGLE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # written without blanks
_JOINERS = "\u200c\u200d"  # stand inside words (Persian, Hindi) and inside emoji
_TIGHT = re.compile(r"\s+(?=[.,;:!?%)\]}\u2026\u2019\u201d\u00bb])|(?<=[(\[{\u201c\u00ab])\s+")


class Segmenter:
    """Splits a text into tokens, and puts tokens together again.

    Args:
        kind: "words" for words, numbers and punctuation marks; "characters" for single ones (Unicode code points);
            "bpe" for byte-pair pieces.
        lower: whether the text is turned into lower case first.
        pieces: for "bpe", the pieces; `Segmenter.train` learns them.

    Words hold letters, digits, combining marks and apostrophes inside them (``don't``); numbers keep their inner
    points and commas. A run of one mark (``...``, ``--``, ``!!``) is one token, any other mark stands alone. Chinese
    characters and hiragana stand alone, too, for there are no blanks between their words. The text is brought into
    Unicode's form NFC first, so that an accent typed in two ways gives one word.

    Characters and pieces give back the very text (in lower case if asked for), words one with ordinary spacing.

    >>> words = Segmenter(lower=True)
    >>> words.split("It isn't 3.5 stars -- it's more!")
    ['it', "isn't", '3.5', 'stars', '--', "it's", 'more', '!']
    >>> words.join(["not", "bad", ",", "not", "good", "."])
    'not bad, not good.'
    """

    def __init__(self, kind: str = "words", lower: bool = False, pieces: BPETokenizer | None = None) -> None:
        if kind not in KINDS:
            raise ArgumentError("Segmenter: unknown kind of token", expected=" | ".join(KINDS), got=kind)
        if (kind == "bpe") != (pieces is not None):
            raise ArgumentError(
                "Segmenter: byte-pair pieces belong to kind='bpe'",
                got=f"kind={kind!r} {'without' if pieces is None else 'with'} pieces",
                fix="Learn them with Segmenter.train(texts, 'bpe')",
            )
        self.kind, self.lower, self.pieces = kind, lower, pieces

    @classmethod
    def train(
        cls, texts: Iterable[str], kind: str = "words", lower: bool = False, vocabulary_size: int = PIECES
    ) -> Segmenter:
        """A segmenter; for "bpe" its pieces are learnt from `texts`, elsewhere these are not looked at.

        The first 20 million characters are read, so that memory stays bounded: mix the texts beforehand.
        Raises `ArgumentError` for an unknown kind, `MissingExtraError` without the `tokenizers` library.
        """
        if kind != "bpe":
            return cls(kind, lower)
        return cls(kind, lower, BPETokenizer.train("\n".join(_first(texts, lower)), vocabulary_size))

    def split(self, text: str) -> list[str]:
        """The tokens of a text."""
        if self.lower:
            text = text.lower()
        if self.pieces is not None:
            return self.pieces.split(text)
        if self.kind == "characters":
            return list(text)
        if text.isascii():  # which is in that form, and the same tokens are found several times as fast
            return _ASCII.findall(text)
        words: list[str] = _words().findall(unicodedata.normalize("NFC", text))
        return words

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens: of words with a blank between, but none before `,` or after `(`."""
        if self.pieces is not None:
            return self.pieces.join(tokens)
        if self.kind == "characters":
            return "".join(tokens)
        return _TIGHT.sub("", " ".join(tokens))

    def to_json(self) -> dict[str, Any]:
        """The segmenter in JSON's types; `from_json` makes it again."""
        pieces = {} if self.pieces is None else {"pieces": self.pieces.to_json()}
        return {"kind": self.kind, "lower": self.lower, **pieces}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Segmenter:
        """What `to_json` described. Raises `CheckpointError` for anything else."""
        if not isinstance(data, dict) or data.get("kind") not in KINDS or not isinstance(data.get("lower"), bool):
            raise CheckpointError("damaged segmenter", expected=f"a kind of {', '.join(KINDS)}, and lower", got=data)
        if (data["kind"] == "bpe") != ("pieces" in data):
            raise CheckpointError("damaged segmenter", expected="pieces with the kind bpe alone", got=data["kind"])
        return cls(data["kind"], data["lower"], BPETokenizer.from_json(data["pieces"]) if "pieces" in data else None)


def _first(texts: Iterable[str], lower: bool) -> Iterable[str]:
    read = 0
    for text in texts:
        yield text.lower() if lower else text
        read += len(text)
        if read >= _MOST:
            return


_NUMBER = r"\d+(?:[.,:]\d+)+(?!\w)"
_RUNS = "|".join(rf"{re.escape(mark)}{{2,}}" for mark in ".-!?*=~#")
_ASCII = re.compile(rf"{_NUMBER}|\w+(?:'\w+)*|{_RUNS}|[^\w\s]")


@cache
def _words() -> re.Pattern[str]:
    marks = _marks() + _JOINERS
    letter = rf"(?:[^\W{_SINGLE}]|[{marks}])"
    word = rf"[^\W{_SINGLE}]{letter}*(?:['\u2019]{letter}+)*"
    single = rf"[{_SINGLE}][{marks}]*"
    sign = rf"[^\w\s](?:[{marks}\U0001f3fb-\U0001f3ff]|(?<=\u200d)[^\w\s])*"  # an emoji with all that modifies it
    return re.compile(f"{_NUMBER}|{word}|{single}|{_RUNS}|{sign}")


def _marks() -> str:
    """Unicode's combining marks as the inside of a character class; Python's `\\w` holds none of them."""
    ranges: list[list[int]] = []
    for code in range(min(sys.maxunicode, 0x1FFFF) + 1):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in ranges)
