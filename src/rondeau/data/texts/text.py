"""Text from files and folders, and its division into training, validation and test text."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import re
import shlex
import stat
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rondeau.errors import ArgumentError, DataError

SEPARATOR = "\n\n"
"""What stands between two documents in a joined text."""

MANY_DOCUMENTS = 20
"""From this many independent documents on, whole documents are held out; below it, the end of the joined text."""

_HEAD = 1 << 16  # bytes looked at before a file is read whole: a large binary file is recognised cheaply
_LINE = 40  # characters; shorter lines recur by nature and prove no copying
_PARAGRAPH = 40  # characters; shorter paragraphs (headings, "Example:") recur by nature and prove no copying

logger = logging.getLogger(__name__)


class Document(NamedTuple):
    """A piece of text that belongs together; `name` is its path below the folder that was read."""

    name: str
    text: str


class Split(NamedTuple):
    """Training, validation and test text; every model and every baseline gets exactly these strings."""

    train: str
    validation: str
    test: str


def read_text(path: str | os.PathLike[str]) -> list[Document]:
    """The text of a UTF-8 file, or of every text file below a folder, sorted by name; `.gz` files are unpacked.

    What a file holds decides, not its suffix: in a folder each file that is UTF-8, not empty and without NUL bytes is
    taken. Hidden entries (a leading dot), binary, empty, undecodable and unreadable files are left out, and one warning
    is logged that counts them by reason and names some. Links to folders are not followed. A byte order mark is
    removed and ``\\r\\n`` becomes ``\\n``; everything else, a lone ``\\r`` included, stays as it is.

    Raises `DataError`: path missing or unreadable; a file that is empty (or blank), binary, or not UTF-8 (with the
    byte's offset and line); a folder without any text.
    """
    wanted = "a text file or a folder of them"
    if not os.fspath(path):  # Path("") would be the current folder
        raise DataError("no such file or folder", expected=wanted, got="an empty path")
    root = Path(path)
    try:
        mode = root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError("no such file or folder", expected=wanted, got=str(root)) from error
    except OSError as error:
        raise DataError("unreadable file", got=error.strerror, where=root) from error
    if stat.S_ISDIR(mode):
        return _read_folder(root)
    if not stat.S_ISREG(mode):
        raise DataError("neither a file nor a folder", expected=wanted, got=str(root))
    return [Document(root.name, _read_file(root))]


def _read_folder(root: Path) -> list[Document]:
    documents: list[Document] = []
    skipped: defaultdict[str, list[str]] = defaultdict(list)
    errors: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=errors.append):
        here = Path(folder).relative_to(root)
        skipped["hidden"] += [(here / name).as_posix() for name in sorted(folders + files) if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (root / here / name).is_symlink()]
        skipped["link to a folder"] += [(here / name).as_posix() for name in links]
        for name in files:
            file = here / name
            if name.startswith("."):
                continue
            if not os.path.isfile(root / file):  # a pipe, a socket or a dangling link: reading could block or fail
                skipped["not a regular file"].append(file.as_posix())
                continue
            try:
                documents.append(Document(file.as_posix(), _read_file(root / file)))
            except DataError as error:
                skipped[error.what].append(file.as_posix())
    skipped["unreadable folder"] += [str(error.filename) for error in errors]
    report = _skip_report(skipped)
    if not documents:
        got = report or "an empty folder"
        raise DataError("no text in the folder", expected="at least one UTF-8 text file", got=got, where=root)
    if report:
        logger.warning("%s: %d files read; left out: %s", root, len(documents), report)
    return sorted(documents)


def _skip_report(skipped: dict[str, list[str]], shown: int = 3) -> str:
    parts = []
    for reason, names in sorted(skipped.items()):
        if names:
            more = ", ..." if len(names) > shown else ""
            parts.append(f"{len(names)} {reason} ({', '.join(sorted(names)[:shown])}{more})")
    return "; ".join(parts)


def _read_file(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            data = file.read(_HEAD)
            refuse_binary(data, path)
            data += file.read()
    except (OSError, EOFError, zlib.error) as error:  # the last two of .gz files that are cut off or damaged
        raise DataError("unreadable file", got=getattr(error, "strerror", None) or error, where=path) from error
    refuse_binary(data, path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start
        raise DataError(
            "not UTF-8 text",
            expected="UTF-8",
            got=f"byte 0x{data[offset]:02x} at offset {offset}, line {data.count(10, 0, offset) + 1} ({error.reason})",
            where=path,
            fix=_convert(path, "LATIN1") + ", with the file's real encoding in the place of LATIN1",
        ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise DataError(
            "empty file", expected="text", got=f"{len(data)} blank bytes" if data else "0 bytes", where=path
        )
    return text


def refuse_binary(data: bytes, path: Path, at: int = 0) -> None:
    """Raise `DataError` for bytes of a file, from byte `at` on, that are no UTF-8 text by their looks."""
    if at == 0 and data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            "not UTF-8 text", expected="UTF-8", got="a UTF-16 byte order mark", where=path, fix=_convert(path, "UTF-16")
        )
    offset = data.find(0)
    if offset >= 0:
        raise DataError("binary file", expected="UTF-8 text", got=f"a NUL byte at offset {at + offset}", where=path)


def _convert(path: Path, encoding: str) -> str:
    source, target = shlex.quote(str(path)), shlex.quote(f"{path}.utf8")
    return f"Convert it first (iconv -f {encoding} -t UTF-8 {source} > {target})"


def repeats(documents: Sequence[Document]) -> list[int | None]:
    """For each document the index of the longer one that holds at least half of its text, or None.

    Paragraphs (between blank lines, white space aside) of 40 characters or more are compared. Of two equal documents
    the later counts as the repeat. Linear in the text's length.
    """
    owners: dict[str, int] = {}
    found: list[int | None] = [None] * len(documents)
    for index in sorted(range(len(documents)), key=lambda i: (-len(documents[i].text), i)):
        paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", documents[index].text)]
        shared: defaultdict[int, int] = defaultdict(int)
        for paragraph in paragraphs:
            if len(paragraph) >= _PARAGRAPH:
                owner = owners.setdefault(paragraph, index)
                if owner != index:
                    shared[owner] += len(paragraph)
        if 2 * sum(shared.values()) >= max(1, sum(map(len, paragraphs))):
            found[index] = max(shared, key=lambda owner: (shared[owner], -owner))
    return found


def split_text(documents: Sequence[Document], validation: float = 0.05, test: float = 0.05, seed: int = 0) -> Split:
    """Held-out text that shares nothing with the training text.

    With 20 independent documents or more, whole documents are held out, drawn by a hash of `seed` and their name, so
    that the draw does not change with the machine; a document and its repeats (see `repeats`) stay together. With
    fewer, the documents are joined and the last parts are held out, the very end for the test; repeats are then left
    out, with a warning. Documents are joined by a blank line, in the order given.

    `validation` and `test` are shares of all characters, each at least 0, below 1 together; whole documents meet them
    nearly. Raises `ArgumentError` for shares out of range, `DataError` without documents.
    """
    return divide_text(documents, validation, test, seed)[0]


def divide_text(
    documents: Sequence[Document], validation: float = 0.05, test: float = 0.05, seed: int = 0
) -> tuple[Split, list[str]]:
    """As `split_text`, with what was done in words."""
    if min(validation, test) < 0 or validation + test >= 1:
        raise ArgumentError(
            "split_text: the held-out shares leave nothing to train on",
            expected="validation >= 0, test >= 0, validation + test < 1",
            got=f"validation={validation}, test={test}",
        )
    if not documents:
        raise DataError("split_text: no documents", expected="at least one", got=0)
    families = _families(repeats(documents))
    if len(families) >= MANY_DOCUMENTS:
        copies = len(documents) - len(families)
        notes = [f"held out are whole documents, of {len(documents):,}"]
        if copies:
            notes.append(f"{copies:,} documents repeat others, and are in the same part as those")
        return _split_by_document(documents, families, validation, test, seed), notes
    extra = sorted(i for members in families.values() for i in members[1:])
    notes = ["held out is the end of the text"]
    if extra:
        names = ", ".join(documents[i].name for i in extra)
        notes.append(f"left out, as their text stands in longer documents, too: {names}")
        logger.warning("left out, as their text stands in longer documents, too: %s", names)
    text = SEPARATOR.join(documents[i].text for i in sorted(families))
    first, second = (round(len(text) * share) for share in (1 - validation - test, 1 - test))
    return Split(text[:first], text[first:second], text[second:]), notes


class SharedLines(NamedTuple):
    """How many different lines of 40 characters or more are held out, how many of these are learnt from, and one."""

    shared: int
    held_out: int
    one: str = ""


def long_lines(text: str) -> set[str]:
    """The different lines of 40 characters or more."""
    return {line for line in text.split("\n") if len(line) >= _LINE}


def shared_lines(text: Split) -> SharedLines:
    """The held-out lines that stand in the training text too."""
    held_out = long_lines(text.validation) | long_lines(text.test)
    found = held_out.intersection(text.train.split("\n"))
    return SharedLines(len(found), len(held_out), min(found, default=""))


def describe_shared(lines: SharedLines) -> str:
    """What `shared_lines` found, in words."""
    counts = f"{lines.shared:,} of {lines.held_out:,} held-out lines of {_LINE} characters or more"
    return f"{counts} stand in the training text too" + (f", such as {lines.one!r}" if lines.shared else "")


def _families(parents: Sequence[int | None]) -> dict[int, list[int]]:
    """Every document that repeats none, with all that repeat it, itself first."""
    families: defaultdict[int, list[int]] = defaultdict(list)
    for index, parent in enumerate(parents):
        head = index
        while parent is not None:
            head, parent = parent, parents[parent]
        families[head].append(index)
    return {head: [head, *(i for i in members if i != head)] for head, members in families.items()}


def _split_by_document(
    documents: Sequence[Document], families: dict[int, list[int]], validation: float, test: float, seed: int
) -> Split:
    sizes = {head: sum(len(documents[i].text) for i in members) for head, members in families.items()}
    drawn = sorted(families, key=lambda head: draw(seed, documents[head].name))
    total = sum(sizes.values())
    part: dict[int, str] = {}
    for name, share in (("test", test), ("validation", validation)):
        room = share * total
        for head in drawn:
            if head not in part and sizes[head] <= 2 * room:  # it brings the part nearer to its share
                part[head] = name
                room -= sizes[head]
        if share > 0 and name not in part.values():  # all are longer than the share: the shortest will do
            part[min((h for h in drawn if h not in part), key=sizes.__getitem__)] = name
    chosen = {i: part.get(head, "train") for head, members in families.items() for i in members}
    return Split(
        *(SEPARATOR.join(d.text for i, d in enumerate(documents) if chosen[i] == name) for name in Split._fields)
    )


def draw(seed: int, name: str) -> bytes:
    """What documents are sorted by to draw some of them: on every machine the same."""
    return hashlib.blake2b(f"{seed} {name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
