"""A text that is too large for memory: divided by place or by document, gone through a block at a time."""

from __future__ import annotations

import codecs
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.disk.cache import fingerprint, key_of, place, written_aside
from rondeau.data.disk.mapped import mapped
from rondeau.data.disk.packed import smallest_type
from rondeau.data.progress import Meter
from rondeau.data.texts.text import (
    MANY_DOCUMENTS,
    SEPARATOR,
    SharedLines,
    describe_shared,
    draw,
    long_lines,
    refuse_binary,
)
from rondeau.data.texts.tokenizer import UNKNOWN, BPETokenizer, CharacterTokenizer
from rondeau.data.texts.word_tokenizer import WordTokenizer
from rondeau.errors import ArgumentError, DataError

LARGE = 1 << 26  # bytes of text from which on it is never held in memory
HELD_OUT = 1 << 21  # bytes held out of a large text at most, for validation and for the test: enough for three digits
LEARNT_FROM = 1 << 25  # characters from which byte-pair pieces are learnt
_BLOCK = 1 << 22  # bytes read at once
_CUT = 1 << 16  # bytes within which a line break is looked for, to cut there

logger = logging.getLogger(__name__)


class Passage(NamedTuple):
    """A part of a file, from byte `begin` to `end`."""

    path: Path
    begin: int
    end: int


class LongText:
    """Passages of files as one text, a blank line between two files; `blocks` reads it, `len` counts its characters.

    What it holds is found in one pass over everything, and kept in the cache folder for the next time.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = list(passages)
        self.size = sum(passage.end - passage.begin for passage in passages)
        self.characters = 0
        self.seen: list[str] = []  # the different characters
        self.digest = ""
        self.by_document = False  # of a training text: whether whole documents are held out

    def __len__(self) -> int:
        return self.characters

    def blocks(self, what: str | None = None) -> Iterator[str]:
        """The text in parts of some millions of characters; `what` is shown as being done.

        Raises `DataError` for what is not UTF-8, or holds NUL bytes.
        """
        with Meter(what or "", self.size if what else None, "B") as meter:
            for number, passage in enumerate(self.passages):
                if number:
                    yield SEPARATOR
                for text, size in read_passage(passage):
                    yield text
                    if what:
                        meter.advance(size)

    def pieces(self, what: str | None = None) -> Iterator[str]:
        """The text in parts that end where no byte-pair piece reaches over: before a line break after a letter."""
        held = ""
        for block in self.blocks(what):
            held += block
            end = _seam(held)
            if end == 0 and len(held) > 4 * _BLOCK:  # a text without lines
                end = len(held)
            if end:
                yield held[:end]
                held = held[end:]
        if held:
            yield held

    def survey(self, digest: Any = None) -> Any:
        """Count characters and find which there are; `digest`, or a new one, has seen the text then."""
        digest = hashlib.blake2b(digest_size=16) if digest is None else digest
        seen = np.zeros(0x110000, bool)
        self.characters = 0
        for block in self.blocks("reading the text"):
            digest.update(block.encode())
            seen[np.frombuffer(block.encode("utf-32-le"), "<u4")] = True
            self.characters += len(block)
        self.seen = [chr(code) for code in np.flatnonzero(seen).tolist()]
        return digest


class LargeSplit(NamedTuple):
    """Training, validation and test text as `Split` has them; the training text stays on disk."""

    train: LongText
    validation: str
    test: str


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a file, or of all files below a folder that have no leading dot, nor stand below one; 0 of neither."""
    root = Path(path)
    if root.is_file():
        return root.stat().st_size
    return sum(file.stat().st_size for file in _files(root)) if root.is_dir() else 0


def read_large_text(
    path: str | os.PathLike[str], validation: float = 0.05, test: float = 0.05, seed: int = 0
) -> LargeSplit:
    """A large text file, or a folder of files, in constant memory.

    The rules are those of `read_text` and `split_text`, with these differences. At most 2 MB each are held out for
    validation and test. From 20 documents on whole ones are held out, where they are short enough, otherwise the very
    end. Documents that repeat others are not looked for: instead it is counted how many of the held-out lines of 40
    characters or more stand in the training text too, and `encode_large` warns of them.

    Raises `ArgumentError` for shares out of range, `DataError` for text that cannot be read.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        got = f"validation={validation}, test={test}"
        raise ArgumentError("the held-out shares leave nothing to train on", expected="below 1 together", got=got)
    root = Path(path)
    files = [root] if root.is_file() else _good_files(root)
    whole = _by_document(root, files, validation, test, seed)
    parts = whole or _by_place(files, validation, test)
    train, *held_out = (LongText(passages) for passages in parts)
    train.by_document = whole is not None
    kept = place(f"{key_of('survey', *_identity([train, *held_out]))}.json")
    texts = ["".join(text.blocks()) for text in held_out]
    if kept.exists():
        facts = json.loads(kept.read_text(encoding="utf-8"))
        train.characters, train.seen, train.digest = facts["characters"], list(facts["seen"]), facts["digest"]
    else:
        digest = train.survey()
        for text in texts:
            digest.update(b"\0" + text.encode())
        train.digest = digest.hexdigest()
        facts = {"characters": train.characters, "seen": "".join(train.seen), "digest": train.digest}
        with written_aside(kept) as aside:
            aside.write_text(json.dumps(facts), encoding="utf-8")
    return LargeSplit(train, *texts)


def train_on_large(text: LongText, kind: str, vocabulary: int) -> CharacterTokenizer | BPETokenizer | WordTokenizer:
    """The tokenizer of a large training text: its characters or words, or byte pairs learnt from 32 million of them.

    These come from 16 places all over the text.
    """
    if kind == "characters":
        return CharacterTokenizer(sorted(set(text.seen) - {UNKNOWN}))
    if kind == "words":
        return WordTokenizer.train(text.pieces("counting the words"), vocabulary)
    share = LEARNT_FROM // 16
    steps = max(text.size // 16, share)
    parts: list[str] = []
    at = 0
    for passage in text.passages:
        size = passage.end - passage.begin
        for start in range(-at % steps, size, steps):
            begin = _after_line(passage.path, passage.begin + start, passage.end)
            end = _after_line(passage.path, min(begin + share, passage.end), passage.end)
            parts.append("".join(part for part, _ in read_passage(Passage(passage.path, begin, end))))
        at += size
    return BPETokenizer.train("\n".join(parts), vocabulary)


def encode_large(
    text: LargeSplit, tokenizer: CharacterTokenizer | BPETokenizer | WordTokenizer
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """The ids of training, validation and test text; those of the training text in a file of the cache folder.

    They are in the smallest type that holds them, mapped into memory. Made once for each text and tokenizer. A warning
    is logged where held-out lines stand in the training text too.
    """
    kept = _place_of_ids(text, tokenizer)
    told = kept.with_suffix(".json")
    dtype = smallest_type(tokenizer.size)
    if not (kept.exists() and told.exists()):
        held_out = long_lines(text.validation) | long_lines(text.test)
        found: set[str] = set()
        with written_aside(kept) as aside, aside.open("wb") as file:
            for piece in text.train.pieces("encoding the text"):
                file.write(tokenizer.encode(piece).astype(dtype).tobytes())
                found |= held_out.intersection(piece.split("\n"))
        with written_aside(told) as aside:
            facts = {"shared": len(found), "held out": len(held_out), "one": min(found, default="")}
            aside.write_text(json.dumps(facts), encoding="utf-8")
    shared = shared_with_large(text, tokenizer)
    if shared.shared:
        logger.warning(describe_shared(shared))
    return mapped(kept, dtype), tokenizer.encode(text.validation), tokenizer.encode(text.test)


def shared_with_large(text: LargeSplit, tokenizer: CharacterTokenizer | BPETokenizer | WordTokenizer) -> SharedLines:
    """The held-out lines that stand in the training text too, as `encode_large`, called before, has found them."""
    facts = json.loads(_place_of_ids(text, tokenizer).with_suffix(".json").read_text(encoding="utf-8"))
    return SharedLines(facts["shared"], facts["held out"], facts["one"])


def _place_of_ids(text: LargeSplit, tokenizer: CharacterTokenizer | BPETokenizer | WordTokenizer) -> Path:
    return place(f"{key_of('ids', text.train.digest, tokenizer.to_json())}.ids")


def read_passage(passage: Passage) -> Iterator[tuple[str, int]]:
    r"""A passage's text in blocks, each with the bytes it took; `\r\n` as a line break,
    a byte order mark left out.

    Raises `DataError` for bytes that are no text, with their offset.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = ""
    try:
        with passage.path.open("rb") as file:
            file.seek(passage.begin)
            at, begins = passage.begin, passage.begin == 0
            while at < passage.end:
                data = file.read(min(_BLOCK, passage.end - at))
                if not data:
                    raise DataError("the file has become shorter", where=passage.path)
                refuse_binary(data, passage.path, at)
                pending = len(decoder.getstate()[0])
                last = at + len(data) >= passage.end
                try:
                    text = held + decoder.decode(data, last)
                except UnicodeDecodeError as error:
                    byte, offset = error.object[error.start], at - pending + error.start
                    got = f"byte 0x{byte:02x} at offset {offset} ({error.reason})"
                    fix = "Convert it first, as by iconv -f LATIN1 -t UTF-8"
                    raise DataError("not UTF-8 text", expected="UTF-8", got=got, where=passage.path, fix=fix) from error
                if text and begins:
                    text, begins = text.removeprefix("\ufeff"), False
                held = "\r" if text.endswith("\r") and not last else ""  # the other half of a line break may follow
                yield text[: len(text) - len(held)].replace("\r\n", "\n"), len(data)
                at += len(data)
    except OSError as error:
        raise DataError("unreadable file", got=error.strerror, where=passage.path) from error


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def _good_files(root: Path) -> list[Path]:
    """The files of a folder that hold UTF-8 text; a warning counts the others."""
    good: list[Path] = []
    bad: list[Path] = []
    files = _files(root)
    with Meter("looking at files", sum(file.stat().st_size for file in files), "B") as meter:
        for file in files:
            blank = True
            try:
                for text, size in read_passage(Passage(file, 0, file.stat().st_size)):
                    blank = blank and not text.strip()
                    meter.advance(size)
            except DataError:
                blank = True
            (bad if blank else good).append(file)
    if bad:
        logger.warning("%s: %d files read; left out: %d without text (%s ...)", root, len(good), len(bad), bad[0].name)
    if not good:
        raise DataError("no text in the folder", expected="at least one UTF-8 text file", where=root)
    return good


def _by_document(
    root: Path, files: list[Path], validation: float, test: float, seed: int
) -> list[list[Passage]] | None:
    """Whole documents held out, as `split_text` draws them; None where that is no use."""
    if len(files) < MANY_DOCUMENTS:
        return None
    sizes = {file: file.stat().st_size for file in files}
    names = {file: file.relative_to(root).as_posix() for file in files}
    drawn = sorted(files, key=lambda file: draw(seed, names[file]))
    part: dict[Path, int] = {}
    for number, share in ((2, test), (1, validation)):
        room = wanted = min(share * sum(sizes.values()), HELD_OUT)
        for file in drawn:
            if file not in part and sizes[file] <= room:
                part[file] = number
                room -= sizes[file]
        if room > wanted / 2:  # they are too long
            return None
    return [[Passage(file, 0, sizes[file]) for file in files if part.get(file, 0) == i] for i in range(3)]


def _by_place(files: list[Path], validation: float, test: float) -> list[list[Passage]]:
    """The end of the last files held out."""
    ends = np.cumsum([file.stat().st_size for file in files]).tolist()
    total = ends[-1]
    held = [round(min(share * total, HELD_OUT)) for share in (validation, test)]
    parts: list[list[Passage]] = [[], [], []]
    for file, end in zip(files, ends, strict=True):
        begin = end - file.stat().st_size
        cuts = [begin]
        for at in (total - sum(held), total - held[1]):
            inside = min(max(at - begin, 0), end - begin)
            cuts.append(max(begin + _after_line(file, inside, end - begin), cuts[-1]))
        for number, (first, last) in enumerate(zip(cuts, [*cuts[1:], end], strict=True)):
            if last > first:
                parts[number].append(Passage(file, first - begin, last - begin))
    return parts


def _after_line(path: Path, at: int, end: int) -> int:
    """The first place from byte `at` on that follows a line break, or at least a whole character."""
    if at in (0, end):
        return at
    with path.open("rb") as file:
        file.seek(at)
        data = file.read(min(_CUT, end - at))
    found = data.find(b"\n")
    if found >= 0:
        return at + found + 1
    return at + next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


def _seam(text: str) -> int:
    """Where to cut: before the last line break that stands right after a visible character; 0 for nowhere."""
    at = text.rfind("\n")
    while at > 0 and text[at - 1].isspace():
        at = text.rfind("\n", 0, at)
    return max(at, 0)


def _identity(texts: Sequence[LongText]) -> Iterator[Any]:
    known: dict[Path, str] = {}
    for text in texts:
        for path, begin, end in text.passages:
            known[path] = known.get(path) or fingerprint(path)
            yield str(path), known[path], begin, end
        yield None
