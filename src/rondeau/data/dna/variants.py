"""Variants: what stands at a place, and what may stand there instead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from rondeau.data.faults import Faults
from rondeau.data.tables.rows import TABLES, read_head, read_rows
from rondeau.data.texts.text_lines import read_lines, suffix_of
from rondeau.errors import DataError

_NAMES = {
    "id": ("id", "chrom", "#chrom", "chromosome", "chr", "sequence_id", "record", "contig", "seqid"),
    "position": ("position", "pos", "start"),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternate", "alternative", "mutant"),
}


class Variant(NamedTuple):
    """`ref` at `position` of the record `id`, counted from 1, becomes `alt`; `sequence`: its letters, where given."""

    id: str
    position: int
    ref: str
    alt: str
    where: str = ""
    sequence: str | None = None


def looks_like_variants(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a VCF, or a table with columns for position, ref and alt."""
    if suffix_of(path) == ".vcf":
        return True
    if suffix_of(path) not in TABLES:
        return False
    columns = {name.lower() for name in read_head(path).columns}
    return all(columns & set(_NAMES[name]) for name in ("position", "ref", "alt"))


def read_variants(path: str | os.PathLike[str], faults: Faults) -> Iterator[Variant]:
    """The variants of a VCF, or of a table with columns `id`, `position`, `ref`, `alt` (and perhaps `sequence`).

    A line of VCF with several alternatives is as many variants. Faults: a line with too few fields, a position that is
    none, an alternative that is not written out in letters (`<DEL>`).
    """
    for values, where in _vcf(path, faults) if suffix_of(path) == ".vcf" else _table(path, faults):
        position = values["position"].strip()
        if not position.isdigit() or int(position) < 1:
            faults.add("a variant has no position", where=where, expected="1 or more", got=repr(position))
            continue
        for alt in values["alt"].split(","):
            ref, other = _letters(values["ref"]), _letters(alt)
            if not (ref + other).isalpha():
                got = f"{values['ref']!r} to {alt!r}"
                faults.add("a variant is not written out in letters", where=where, expected="such as A to G", got=got)
                continue
            yield Variant(values["id"], int(position), ref, other, where, values.get("sequence") or None)


def _letters(text: str) -> str:
    text = text.strip().upper()
    return "" if text in ("-", ".") else text


def _vcf(path: str | os.PathLike[str], faults: Faults) -> Iterator[tuple[dict[str, str], str]]:
    for number, line in read_lines(path, faults=faults):
        if line.startswith("#") or not line.strip():
            continue
        cells, where = line.rstrip("\r\n").split("\t"), f"{path}, line {number:,}"
        if len(cells) < 5:
            expected = "CHROM, POS, ID, REF and ALT, parted by tabs"
            faults.add("a line of a VCF has too few fields", where=where, expected=expected, got=len(cells))
            continue
        yield {"id": cells[0], "position": cells[1], "ref": cells[3], "alt": cells[4]}, where


def _table(path: str | os.PathLike[str], faults: Faults) -> Iterator[tuple[dict[str, str], str]]:
    columns = read_head(path).columns
    found = {key: next((c for n in names for c in columns if c.lower() == n), None) for key, names in _NAMES.items()}
    found["sequence"] = next((c for c in columns if c.lower() == "sequence"), None)
    missing = [key for key, name in found.items() if name is None and key not in ("sequence", "id")]
    if missing or (found["id"] is None and found["sequence"] is None):
        got = ", ".join(map(repr, columns))
        raise DataError("the table holds no variants", expected="columns id, position, ref, alt", got=got, where=path)
    for values, where in read_rows(path, "utf-8", faults):
        own = {key: "" if values.get(name) is None else str(values[name]) for key, name in found.items() if name}
        yield {"id": "", **own}, where
