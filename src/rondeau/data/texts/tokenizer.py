"""Text to token ids and back: single characters, or byte-pair pieces."""

from __future__ import annotations

import codecs
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rondeau.errors import ArgumentError, CheckpointError, DataError, MissingExtraError

if TYPE_CHECKING:
    from rondeau.data.texts.word_tokenizer import WordTokenizer

Ids = NDArray[np.int64]

UNKNOWN = "\ufffd"
"""What an unknown token is decoded to."""

_UNKNOWN_BYTES = UNKNOWN.encode()
_CHUNK = 1 << 20  # characters: the tokenizers library needs some 100 bytes of memory per token it encodes at once
_SEAM = re.compile(r"\S(?=\n)")  # no piece reaches from a visible character over a line break: a safe place to cut


class StreamDecoder(Protocol):
    """Turns ids, one at a time, into text made of whole characters."""

    def push(self, token: int) -> str:
        """The characters that `token` completes; "" while one is unfinished."""

    def flush(self) -> str:
        """What an unfinished character leaves at the end: "\ufffd", or "" where nothing is unfinished."""


class Tokenizer(Protocol):
    """What a language model asks of its tokenizer."""

    @property
    def size(self) -> int:
        """The number of ids: 0 ... size - 1."""

    @property
    def unknown(self) -> int | None:
        """The id of whatever was not seen in training; None where every text can be encoded."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """What each id stands for, readable."""

    def encode(self, text: str) -> Ids:
        """The ids of `text`, of shape (tokens,)."""

    def decode(self, ids: ArrayLike) -> str:
        """The text of `ids`. Raises `DataError` for an id outside the vocabulary."""

    def decode_stream(self) -> StreamDecoder:
        """A decoder for ids that come one at a time."""

    def to_json(self) -> dict[str, Any]:
        """The tokenizer in JSON's types; `tokenizer_from_json` makes it again."""


class CharacterTokenizer:
    """One token per character (Unicode code point); id 0 is the unknown character, "\ufffd".

    Args:
        characters: the known characters, ids 1, 2, ... in this order; "\ufffd" itself always has id 0.

    >>> tokenizer = CharacterTokenizer.train("banana")
    >>> tokenizer.encode("nab!").tolist()
    [3, 1, 2, 0]
    >>> tokenizer.decode([2, 1, 3])
    'ban'
    """

    unknown = 0

    def __init__(self, characters: Sequence[str]) -> None:
        if any(len(c) != 1 for c in characters) or len(set(characters)) != len(characters) or UNKNOWN in characters:
            raise ArgumentError("CharacterTokenizer: the characters must be single, distinct and not '\\ufffd'")
        self.tokens: tuple[str, ...] = (UNKNOWN, *characters)
        self._codes = np.array([ord(c) for c in self.tokens], np.uint32)
        # One entry past the highest code point: everything above is cut down to it and is unknown.
        self._table = np.zeros(int(max(self._codes[1:], default=0)) + 2, np.int64)
        self._table[self._codes[1:]] = np.arange(1, len(self.tokens))

    @classmethod
    def train(cls, text: str) -> CharacterTokenizer:
        """A tokenizer for the characters of `text`, ordered by code point."""
        return cls(sorted(set(text) - {UNKNOWN}))

    @property
    def size(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> Ids:
        # A lone surrogate (from an undecodable command line) is no error here: it is one more unknown character.
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids: Ids = self._table[np.minimum(codes, len(self._table) - 1)]
        return ids

    def decode(self, ids: ArrayLike) -> str:
        codes = self._codes[checked_ids(ids, self.size)]
        return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def decode_stream(self) -> StreamDecoder:
        return _CharacterStream(self)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "characters", "characters": list(self.tokens[1:])}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CharacterTokenizer:
        """What `to_json` described. Raises `CheckpointError` for anything else."""
        characters = strings(data, "characters", "characters")
        try:
            return cls(characters)
        except ArgumentError as error:
            raise CheckpointError("damaged vocabulary", got=error.what) from error


class _CharacterStream:
    def __init__(self, tokenizer: CharacterTokenizer) -> None:
        self._tokenizer = tokenizer

    def push(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        return ""


class BPETokenizer:
    """Byte-pair pieces over UTF-8 bytes (Sennrich et al. 2016; bytes as in GPT-2), lossless for any text.

    A word and the space before it are split into pieces, never across words; all 256 bytes are in the vocabulary, so
    nothing is unknown. Needs the extra ``text`` (the `tokenizers` library). Bits per character are the total bits of
    the pieces over ``len(text)``.

    Args:
        tokens: the pieces in id order, each byte written as one character of GPT-2's byte alphabet.
        merges: pairs of pieces in the order in which they are merged.
    """

    unknown = None

    def __init__(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self._pieces = list(tokens)
        self._merges = [(left, right) for left, right in merges]
        self._known = {piece: index for index, piece in enumerate(self._pieces)}
        self._model = _byte_pair_model(vocab=self._known, merges=self._merges)
        to_byte = {character: byte for byte, character in enumerate(_byte_alphabet())}
        self._bytes = [bytes(to_byte[character] for character in piece) for piece in self._pieces]

    @classmethod
    def train(cls, text: str, vocabulary_size: int) -> BPETokenizer:
        """Pieces learned from `text`: the 256 bytes and the most frequent merges, `vocabulary_size` ids at most.

        A text with too few pairs that occur twice gives a smaller vocabulary. Raises `ArgumentError` for a vocabulary
        below 256, `MissingExtraError` without the `tokenizers` library.
        """
        if vocabulary_size < 256:
            raise ArgumentError(
                "BPETokenizer: the vocabulary is too small for the bytes", expected="at least 256", got=vocabulary_size
            )
        model = _byte_pair_model()
        trainer = _library().trainers.BpeTrainer(
            vocab_size=vocabulary_size, min_frequency=2, initial_alphabet=_byte_alphabet(), show_progress=False
        )
        model.train_from_iterator(_chunks(_encodable(text)), trainer)
        learned = json.loads(model.to_str())["model"]
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in learned["merges"]]
        return cls(sorted(learned["vocab"], key=learned["vocab"].__getitem__), [(a, b) for a, b in merges])

    @property
    def size(self) -> int:
        return len(self._pieces)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(piece.decode("utf-8", "backslashreplace") for piece in self._bytes)

    def encode(self, text: str) -> Ids:
        parts = (self._model.encode(chunk).ids for chunk in _chunks(_encodable(text)))
        return np.concatenate([np.zeros(0, np.int64), *(np.array(part, np.int64) for part in parts)])

    def decode(self, ids: ArrayLike) -> str:
        return b"".join(self._bytes[i] for i in checked_ids(ids, self.size)).decode("utf-8", "replace")

    def split(self, text: str) -> list[str]:
        """The pieces of `text` as strings, each byte one character of GPT-2's byte alphabet."""
        return [self._pieces[i] for i in self.encode(text)]

    def join(self, pieces: Sequence[str]) -> str:
        """The text of pieces; one that is no piece of this tokenizer stands as "\ufffd"."""
        known = (self._known.get(piece) for piece in pieces)
        return b"".join(_UNKNOWN_BYTES if i is None else self._bytes[i] for i in known).decode("utf-8", "replace")

    def decode_stream(self) -> StreamDecoder:
        return _ByteStream(self._bytes)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "bpe", "tokens": list(self._pieces), "merges": [list(merge) for merge in self._merges]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BPETokenizer:
        """What `to_json` described. Raises `CheckpointError` for anything else."""
        tokens = strings(data, "bpe", "tokens")
        alphabet = set(_byte_alphabet())
        merges = data.get("merges")
        if not isinstance(merges, list) or any(not isinstance(m, (list, tuple)) or len(m) != 2 for m in merges):
            raise CheckpointError("damaged vocabulary", expected="a list of pairs under 'merges'")
        known = set(tokens)
        if len(known) != len(tokens) or not alphabet <= known or any(set(token) - alphabet for token in tokens):
            raise CheckpointError("damaged vocabulary", expected="distinct tokens over all 256 bytes")
        if any(left not in known or right not in known or left + right not in known for left, right in merges):
            raise CheckpointError("damaged vocabulary", expected="merges of tokens into tokens")
        return cls(tokens, merges)


class _ByteStream:
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        checked_ids([token], len(self._pieces))
        return self._decoder.decode(self._pieces[token])

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


def tokenizer_from_json(data: dict[str, Any]) -> CharacterTokenizer | BPETokenizer | WordTokenizer:
    """The tokenizer that `to_json` described. Raises `CheckpointError` for an unknown kind or damaged data."""
    kind = data.get("kind") if isinstance(data, dict) else None
    from rondeau.data.texts.word_tokenizer import WordTokenizer  # it is made of what stands here

    kinds: dict[Any, Any] = {"characters": CharacterTokenizer, "bpe": BPETokenizer, "words": WordTokenizer}
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError("damaged vocabulary: unknown kind", expected=" or ".join(kinds), got=kind)
    tokenizer: CharacterTokenizer | BPETokenizer | WordTokenizer = kinds[kind].from_json(data)
    return tokenizer


def checked_ids(ids: ArrayLike, size: int) -> Ids:
    """`ids` as an array of shape (tokens,). Raises `DataError` for other shapes and for an id not in 0 ... size - 1."""
    array = np.asarray(ids)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError("token ids of the wrong kind", expected="a row of integers", got=f"{array.dtype} {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array >= size))
    if wrong.size:
        raise DataError(
            "a token id outside the vocabulary",
            expected=f"0 ... {size - 1}",
            got=int(array[wrong[0]]),
            where=f"position {wrong[0]}",
        )
    return array.astype(np.int64)


def strings(data: dict[str, Any], kind: str, key: str) -> list[str]:
    """The strings under a key of a vocabulary. Raises `CheckpointError` where it is of another kind, or damaged."""
    if not isinstance(data, dict) or data.get("kind") != kind:
        raise CheckpointError("damaged vocabulary", expected=f"an object of kind {kind!r}")
    values = data.get(key)
    if not isinstance(values, list) or any(not isinstance(value, str) for value in values):
        raise CheckpointError("damaged vocabulary", expected=f"a list of strings under {key!r}")
    return values


def _library() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise MissingExtraError(
            "byte-pair tokens need the tokenizers library", fix="Install it: pip install 'rondeau[text]'"
        ) from error


def _byte_pair_model(**known: Any) -> Any:
    library = _library()
    model = library.Tokenizer(library.models.BPE(**known))
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return model


def _byte_alphabet() -> list[str]:
    """The character that stands for each byte: itself where it is printable, the next from U+0100 on where not."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(0x100 + rest.index(byte)) for byte in range(256)]


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            "text that is not Unicode: a lone surrogate",
            got=f"U+{ord(text[error.start]):04X}",
            where=f"character {error.start}",
            fix="Remove it, or read the text as UTF-8",
        ) from error
    return text


def _chunks(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        seam = _SEAM.search(text, start + _CHUNK - 1)
        end = seam.end() if seam else len(text)
        yield text[start:end]
        start = end
