"""Which files hold sequences, of what kind they are, and their records one after another."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rondeau.data.dna.fasta import read_fasta
from rondeau.data.dna.fastq import read_fastq
from rondeau.data.dna.genbank import read_genbank
from rondeau.data.dna.records import SequenceRecord
from rondeau.data.dna.tables import read_table
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import TABLES
from rondeau.data.texts.text_lines import open_bytes, suffix_of
from rondeau.errors import DataError

FASTA = (".fa", ".fasta", ".fna", ".ffn", ".faa", ".frn", ".fas", ".mpfa")
FASTQ = (".fq", ".fastq")
GENBANK = (".gb", ".gbk", ".gbff", ".genbank")
_ENDINGS = {
    **dict.fromkeys(FASTA, "fasta"),
    **dict.fromkeys(FASTQ, "fastq"),
    **dict.fromkeys(GENBANK, "genbank"),
    **dict.fromkeys(TABLES, "table"),
}
_HEAD = 4096  # bytes by which a file without a known ending is judged


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """'fasta', 'fastq', 'genbank' or 'table' by the ending, or for .txt and none by the first letters; else None."""
    suffix = suffix_of(path)
    if suffix in _ENDINGS:
        return _ENDINGS[suffix]
    if suffix not in (".txt", ".seq", "") or not Path(path).is_file():
        return None
    with open_bytes(path) as file:
        try:
            head = file.read(_HEAD)
        except (OSError, EOFError):
            return None
    return kind_of_bytes(head)


def kind_of_bytes(head: bytes) -> str | None:
    """The kind of a file that begins so; None where it is none of these."""
    lines = head.lstrip(b"\xef\xbb\xbf \r\n").split(b"\n")
    if lines[0].startswith(b">"):
        letters = b"".join(line.strip() for line in lines[1:6] if not line.startswith(b">"))
        return "fasta" if letters and letters.replace(b"*", b"").isalpha() else None
    if lines[0].startswith(b"@") and len(lines) > 2 and lines[2].startswith(b"+"):
        return "fastq"
    return "genbank" if lines[0].startswith(b"LOCUS ") else None


def sequence_files(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, or those of a folder that hold sequences, by name. Raises `DataError` where there is none."""
    root = Path(path)
    expected = f"a file or folder of sequences ({', '.join(_ENDINGS)}, .gz too)"
    if not os.fspath(path) or not root.exists():
        raise DataError("no such file or folder", expected=expected, got=os.fspath(path) or "an empty path")
    files = [root] if root.is_file() else sorted(p for p in root.iterdir() if p.is_file() and p.name[0] != ".")
    found = [file for file in files if kind_of(file) is not None]
    if not found:
        raise DataError("there are no sequences", expected=expected, where=root)
    return found


def read_records(
    path: str | os.PathLike[str],
    faults: Faults,
    sequence: str | None = None,
    label: str | None = None,
    group: str | None = None,
    tags: str | None = None,
) -> Iterator[SequenceRecord]:
    """The records of one file; `sequence`, `label`, `group`, `tags`: columns of a table. Raises `DataError`."""
    kind = kind_of(path)
    if kind == "fasta":
        yield from read_fasta(path, faults)
    elif kind == "fastq":
        yield from read_fastq(path, faults)
    elif kind == "genbank":
        yield from read_genbank(path, faults)
    elif kind == "table":
        yield from read_table(path, faults, sequence, label, group, tags)
    else:
        raise DataError("not a file of sequences", expected=", ".join(_ENDINGS), where=path)


def from_standard_input(content: bytes | None = None) -> Path:
    """Standard input as a file with an ending that fits: FASTA, FASTQ, GenBank, VCF, JSON lines, CSV, or bare letters.

    Whoever asks for it deletes it.
    """
    raw = sys.stdin.buffer.read() if content is None else content
    head = raw[:_HEAD]
    kind = kind_of_bytes(head)
    ending = {"fasta": ".fa", "fastq": ".fq", "genbank": ".gb"}.get(kind or "", "")
    if not ending:
        first = head.lstrip().split(b"\n")[0]
        ending = ".vcf" if first.startswith(b"##fileformat=VCF") else ".jsonl" if first.startswith(b"{") else ".csv"
        bare = first.strip().replace(b"*", b"").isalpha() and first.strip().lower() not in (b"sequence", b"seq")
        if ending == ".csv" and bare:
            raw, ending = _as_fasta(raw), ".fa"
    with tempfile.NamedTemporaryFile(suffix=ending, prefix="standard-input-", delete=False) as file:
        file.write(raw)
    return Path(file.name)


def _as_fasta(raw: bytes) -> bytes:
    """A sequence on each line, with headings."""
    lines = [line.strip() for line in raw.splitlines() if line.strip()]
    return b"".join(b">line_%d\n%s\n" % (number, line) for number, line in enumerate(lines, 1))
