"""GenBank: sequences with their features."""

from __future__ import annotations

import importlib
import io
import os
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

from rondeau.data.dna.records import Feature, SequenceRecord
from rondeau.data.faults import Faults
from rondeau.data.texts.text_lines import open_bytes
from rondeau.errors import DataError, MissingExtraError

_STRANDS = {1: "+", -1: "-"}


def read_genbank(path: str | os.PathLike[str], faults: Faults) -> Iterator[SequenceRecord]:
    """The records of a GenBank file, one at a time, `.gz` too; a feature of several stretches is one for each of them.

    Faults: a record without a sequence. Raises `MissingExtraError` without biopython, `DataError` for a file that is
    none or is cut short.
    """
    try:
        parser = importlib.import_module("Bio.SeqIO")
        undefined = importlib.import_module("Bio.Seq").UndefinedSequenceError
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[bio]'"
        raise MissingExtraError("GenBank files need biopython", fix=fix) from error
    count = 0
    with open_bytes(path) as raw, io.TextIOWrapper(raw, "utf-8", errors="replace") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what it mends, such as lines that are too long
        warnings.filterwarnings("error", message=".*[Ee]xpected sequence length|.*[Pp]remature end")
        records = parser.parse(file, "genbank")
        while True:
            try:
                record = next(records, None)
            except (ValueError, EOFError, OSError, AssertionError, Warning, zlib.error) as error:
                where = f"{path}, record {count + 1:,}"
                raise DataError(
                    "a GenBank record cannot be read", got=error, where=where, fix="Fetch it again"
                ) from error
            if record is None:
                break
            count += 1
            where = f"{path}, record {count:,}"
            try:
                letters = bytes(record.seq)
            except undefined:
                fix = "Fetch the file with its sequences (GenBank (full))"
                faults.add("a record has no sequence", where=where, got=record.id, fix=fix)
                continue
            features = tuple(part for one in record.features for part in _parts(one))
            yield SequenceRecord(record.id, letters, record.description, features=features, where=where)
    if not count:
        raise DataError("there is no GenBank record", expected="a line that begins with LOCUS", where=path)


def _parts(feature: Any) -> Iterator[Feature]:
    if feature.location is None:
        return
    for part in feature.location.parts:
        yield Feature(feature.type, int(part.start), int(part.end), _STRANDS.get(part.strand, "."))
