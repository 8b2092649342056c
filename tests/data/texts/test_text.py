"""Reading text: what is taken, what is refused and how it is said; splits that share nothing."""

from __future__ import annotations

import gzip
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rondeau.data.texts.corpus import default_corpus, default_corpus_name
from rondeau.data.texts.text import SEPARATOR, Document, read_text, repeats, split_text
from rondeau.errors import ArgumentError, DataError


def paragraphs(text: str) -> list[str]:
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", text)]


def numbered(count: int, size: int = 10) -> list[Document]:
    """Documents of `size` paragraphs of their own, each long enough to prove a copy."""
    return [
        Document(f"{d:03}", SEPARATOR.join(f"document {d}, paragraph {p}, " + "x" * 40 for p in range(size)))
        for d in range(count)
    ]


# Files


def test_file_keeps_all_but_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\n\ufeff \t".encode())
    assert read_text(tmp_path / "a.txt") == [("a.txt", "one\ntwo\rthree\n\ufeff \t")]
    assert read_text(str(tmp_path / "a.txt")) == read_text(tmp_path / "a.txt")


def test_hidden_file_is_read_when_named(tmp_path: Path) -> None:
    (tmp_path / ".notes").write_text("text")
    assert read_text(tmp_path / ".notes") == [(".notes", "text")]


@pytest.mark.parametrize("path", ["absent", "file.txt/below"])
def test_missing_path(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(DataError, match=r"no such file or folder.*" + re.escape(str(tmp_path / path))):
        read_text(tmp_path / path)


def test_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(DataError, match=r"no such file or folder.*an empty path"):
        read_text("")


@pytest.mark.parametrize(("data", "got"), [(b"", "0 bytes"), (b" \n\t\r\n", "5 blank bytes")])
def test_empty_file(tmp_path: Path, data: bytes, got: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match=f"empty file .*a.txt.*{got}"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("offset", [2, 100_000])
def test_binary_file_names_the_offset(tmp_path: Path, offset: int) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * offset + b"\0" + b"\xff\0")
    with pytest.raises(DataError, match=rf"binary file .*a.bin.*NUL byte at offset {offset}\b"):
        read_text(tmp_path / "a.bin")


def test_wrong_encoding_names_offset_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufefffirst\nsecond é\ncaf".encode() + b"\xe9\n")
    with pytest.raises(DataError, match=r"not UTF-8 text .*a.txt.*byte 0xe9 at offset 22, line 3"):
        read_text(tmp_path / "a.txt")


@pytest.mark.skipif(shutil.which("iconv") is None, reason="this system has no iconv")
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_fix_for_a_wrong_encoding_works(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a b.txt"
    path.write_text("café\n", encoding=encoding)
    with pytest.raises(DataError, match="Convert it first") as caught:
        read_text(path)
    command = re.search(r"\((iconv [^)]*)\)", str(caught.value))
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)
    assert read_text(f"{path}.utf8")[0].text == "café\n"


def test_utf16_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-16")
    with pytest.raises(DataError, match=r"not UTF-8 text.*UTF-16 byte order mark.*iconv -f UTF-16"):
        read_text(tmp_path / "a.txt")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setattr(Path, "open", refuse)  # the one who runs the tests may be allowed everything
    with pytest.raises(DataError, match=r"unreadable file .*a.txt.*Permission denied"):
        read_text(tmp_path / "a.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read_text(tmp_path / "pipe")


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "b.md").write_text("b")
    (root / "a.weird").write_text("a")
    (root / "sub" / "c.py").write_text("c")
    (root / ".git" / "config").write_text("hidden")
    (root / ".hidden").write_text("hidden")
    (root / "photo.png").write_bytes(b"\x89PNG\0")
    (root / "empty.txt").write_bytes(b"")
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "dangling").symlink_to(root / "absent")
    return root


def test_folder_takes_every_text_and_says_what_it_left(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_text(folder) == [("a.weird", "a"), ("b.md", "b"), ("sub/c.py", "c")]
    (record,) = caplog.records
    for part in (
        "3 files read",
        "1 binary file (photo.png)",
        "1 empty file (empty.txt)",
        "1 not UTF-8 text (latin.txt)",
        "2 hidden (.git, .hidden)",
        "1 link to a folder (loop)",
        "1 not a regular file (dangling)",
    ):
        assert part in record.getMessage()


def test_many_left_out_are_counted_and_some_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "text").write_text("text")
    for i in range(5):
        (tmp_path / f"{i}.bin").write_bytes(b"\0")
    read_text(tmp_path)
    assert "5 binary file (0.bin, 1.bin, 2.bin, ...)" in caplog.text


def test_clean_folder_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "text").write_text("text")
    read_text(tmp_path)
    assert not caplog.records


def test_unreadable_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text").write_text("text")
    (tmp_path / "locked").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(read_text(tmp_path)) == 1
    assert "1 unreadable folder" in caplog.text
    assert "locked" in caplog.text


def test_folder_without_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no text in the folder.*an empty folder"):
        read_text(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\0")
    with pytest.raises(DataError, match=r"no text in the folder.*1 binary file \(a.bin\)"):
        read_text(tmp_path)


# Splits


def test_repeats_finds_copies_and_sections_but_not_headings() -> None:
    first, second, third = numbered(3)
    section = Document("section", SEPARATOR.join(first.text.split(SEPARATOR)[:4]).replace(", ", ",\n   "))
    heading = [Document(name, "Example:") for name in ("h1", "h2")]
    mixed = Document("mixed", second.text[:100] + SEPARATOR + "entirely new text, " * 20)
    assert repeats([section, first, second, third, first, mixed, *heading]) == [
        1,
        None,
        None,
        None,
        1,
        None,
        None,
        None,
    ]


def test_one_text_is_split_by_position_without_loss() -> None:
    text = "".join(chr(0x4E00 + i) for i in range(1000))
    split = split_text([Document("a", text)], validation=0.1, test=0.2)
    assert "".join(split) == text
    assert [len(part) for part in split] == [700, 100, 200]


def test_few_documents_are_joined_and_copies_left_out(caplog: pytest.LogCaptureFixture) -> None:
    documents = numbered(5)
    split = split_text([*documents, documents[2]._replace(name="copy")])
    assert "".join(split) == SEPARATOR.join(d.text for d in documents)
    assert "copy" in caplog.text


def test_many_documents_stay_whole_and_copies_together() -> None:
    documents = numbered(100)
    copies = [d._replace(name=f"{d.name} copy") for d in documents]
    split = split_text([*documents, *copies], validation=0.05, test=0.1, seed=3)
    parts = [set(paragraphs(part)) for part in split]
    assert [len(part) for part in parts] == [850, 50, 100]
    assert len(set.union(*parts)) == 1000
    assert [text.count(documents[0].text) for text in split].count(2) == 1
    assert split.train.split(SEPARATOR)[0] < split.train.split(SEPARATOR)[-1]  # in the order given


def test_draw_hangs_on_names_and_seed_alone() -> None:
    documents = numbered(40)
    split = split_text(documents)
    assert split_text(documents) == split
    assert split_text(documents, seed=1).test != split.test
    assert set(paragraphs(split_text(documents[::-1]).test)) == set(paragraphs(split.test))
    assert split.test == SEPARATOR.join(documents[i].text for i in (0, 18))  # on every machine


def test_small_share_of_long_documents_still_gets_one() -> None:
    documents = [*numbered(20), Document("short", "a short one, " * 30)]
    split = split_text(documents, validation=0.001, test=0.001)
    assert split.test == documents[-1].text
    assert split.validation in [d.text for d in documents[:-1]]


def test_share_of_nothing_is_nothing() -> None:
    for documents in (numbered(1), numbered(30)):
        split = split_text(documents, validation=0, test=0)
        assert split == (SEPARATOR.join(d.text for d in documents), "", "")


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_shares_out_of_range(shares: tuple[float, float]) -> None:
    with pytest.raises(ArgumentError, match="leave nothing to train on"):
        split_text(numbered(1), *shares)


def test_split_of_nothing() -> None:
    with pytest.raises(DataError, match="no documents"):
        split_text([])


def test_default_corpus_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        documents = default_corpus()
    names = [document.name for document in documents]
    assert names == sorted(names)
    assert len(names) >= 40
    assert set(repeats(documents)) == {None}
    size = sum(len(document.text) for document in documents)
    assert size > 250_000
    assert default_corpus_name() in caplog.text
    assert f"{size} characters" in caplog.text
    assert sys.version.split()[0] in default_corpus_name()


@pytest.mark.parametrize("seed", range(5))
def test_default_split_shares_almost_nothing(seed: int) -> None:
    # Split as they come, up to nine tenths of the held-out topics stand in the training text, too.
    split = split_text(default_corpus(), seed=seed)
    known = set(paragraphs(split.train))
    for part in (split.validation, split.test):
        shared = sum(len(p) for p in paragraphs(part) if len(p) >= 40 and p in known)
        assert shared < 0.05 * len(part)
        assert 0.025 < len(part) / sum(map(len, split)) < 0.1


def test_python_without_its_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"without its documentation.*Give the path"):
        default_corpus()


def test_packed_files_are_unpacked(tmp_path: Path) -> None:
    whole = gzip.compress("Grüße\r\n".encode() * 100)
    (tmp_path / "a.txt.gz").write_bytes(whole)
    assert read_text(tmp_path / "a.txt.gz")[0].text == "Grüße\n" * 100
    assert [d.name for d in read_text(tmp_path)] == ["a.txt.gz"]
    (tmp_path / "a.txt.gz").write_bytes(whole[:-12])
    with pytest.raises(DataError, match=r"unreadable file .*a.txt.gz.*end-of-stream"):
        read_text(tmp_path / "a.txt.gz")
