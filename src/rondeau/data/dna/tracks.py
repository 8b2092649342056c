"""Tracks beside sequences: features as lines of BED, GFF3 or GTF."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from rondeau.data.dna.records import Feature
from rondeau.data.faults import Faults
from rondeau.data.texts.text_lines import read_lines, suffix_of
from rondeau.errors import DataError

TRACKS = (".bed", ".gff", ".gff3", ".gtf")
Features = dict[str, list[Feature]]


def read_track(path: str | os.PathLike[str], faults: Faults) -> Features:
    """The features of a track by the id of their sequence; BED counts from 0, GFF from 1, both come from 0 here.

    The kind is the third column of GFF, the fourth of BED ('feature' where there is none). Faults: a line with too few
    fields, or with places that are none. Raises `DataError` for another kind of file.
    """
    suffix = suffix_of(path)
    if suffix not in TRACKS:
        raise DataError("not a track of features", expected=", ".join(TRACKS), got=suffix or "no suffix", where=path)
    found: Features = defaultdict(list)
    for name, feature in _lines(path, suffix == ".bed", faults):
        found[name].append(feature)
    return dict(found)


def _lines(path: str | os.PathLike[str], bed: bool, faults: Faults) -> Iterator[tuple[str, Feature]]:
    for number, line in read_lines(path, faults=faults):
        text = line.rstrip("\r\n")
        if text.startswith("##FASTA"):
            return
        if not text.strip() or text.startswith(("#", "track", "browser")):
            continue
        cells, where = text.split("\t"), f"{path}, line {number:,}"
        if len(cells) < (3 if bed else 8):
            expected = "at least 3 fields, parted by tabs" if bed else "at least 8 fields, parted by tabs"
            faults.add("a line of a track has too few fields", where=where, expected=expected, got=len(cells))
            continue
        begin, end = cells[1:3] if bed else cells[3:5]
        if (
            not (begin.isdigit() and end.isdigit())
            or int(begin) + (not bed) * -1 >= int(end)
            or (not bed and begin == "0")
        ):
            expected = "a stretch of at least one base"
            faults.add("a feature has no place", where=where, expected=expected, got=f"{begin} to {end}")
            continue
        kind = (cells[3] if len(cells) > 3 and cells[3] else "feature") if bed else cells[2]
        strand = (cells[5] if len(cells) > 5 else ".") if bed else cells[6]
        first = int(begin) if bed else int(begin) - 1
        yield cells[0], Feature(kind, first, int(end), strand if strand in "+-" else ".")


def track_beside(path: Path) -> Path | None:
    """The track that lies beside a file of sequences and has its name, `genome.gff3` of `genome.fa`; None without."""
    stem = path.name.removesuffix(".gz")
    stem = stem[: stem.rfind(".")] if "." in stem else stem
    for suffix in TRACKS:
        for end in (suffix, f"{suffix}.gz"):
            candidate = path.with_name(stem + end)
            if candidate.is_file():
                return candidate
    return None
