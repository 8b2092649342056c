"""Sequences with a tag for each letter: from features, from a track beside them, or from a table's column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rondeau.data.dna.files import kind_of, read_records, sequence_files
from rondeau.data.dna.records import Feature, SequenceRecord
from rondeau.data.dna.tables import find_sequences, looks_like_sequences
from rondeau.data.dna.tracks import TRACKS, Features, read_track, track_beside
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import read_head
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError, RondeauError

OTHER = "other"
_PREFERRED = (("exon", "intron"), ("CDS", "tRNA", "rRNA"), ("gene",))
_NO_TAGS = ("source", "region", "chromosome", "contig", "misc_feature", "databank_entry")
_MOST = 20
_LOOKED_AT = 200


@dataclass
class Annotated:
    """Where tagged sequences lie, and what their tags are.

    Attributes: `files`; `track`, features by record, None where the files have them; `tags`, names by number, the first
    for letters without a feature, or None for a table, whose tags are letters; `reason`, in words.
    """

    files: list[Path]
    track: Features | None
    tags: list[str] | None
    reason: str
    notes: list[str] = field(default_factory=list)


def find_annotated(path: str, settings: Any, faults: Faults, known: Sequence[str] | None = None) -> Annotated:
    """Tagged sequences at a path; `known`: tags that a run has learnt. Raises `DataError` where there are no tags."""
    root = Path(path)
    files = sequence_files(root)
    kinds = {kind_of(file) for file in files}
    if settings.track is None and "table" in kinds:
        tables = [file for file in files if kind_of(file) == "table"]
        found = find_sequences(read_head(tables[0]), tables[0], settings.sequence_column, None, settings.tags_column)
        if found.tags is None:
            fix = "Name it: --tags-column"
            raise DataError("no column has a tag for each letter", where=tables[0], fix=fix)
        return Annotated(tables, None, None, found.reason)
    track, reason = _track(root, files, settings, faults)
    counts: Counter[str] = Counter()
    stretches = track.values() if track is not None else (one.features for one in _genbank(files))
    for own in stretches:
        counts.update(feature.kind for feature in own)
    chosen = _chosen(counts, settings.features, path)
    tags = [OTHER, *chosen]
    if settings.stranded:
        tags += [f"{name}-" for name in chosen]
    listed = ", ".join(f"{counts[name]:,} {name}" for name in chosen)
    return Annotated(files, track, list(known) if known else tags, f"{reason}: {listed}")


def _genbank(files: list[Path]) -> Iterator[SequenceRecord]:
    for file in files:
        if kind_of(file) == "genbank":
            yield from islice(read_records(file, Faults("skip")), _LOOKED_AT)


def _track(root: Path, files: list[Path], settings: Any, faults: Faults) -> tuple[Features | None, str]:
    if settings.track is not None:
        return read_track(settings.track, faults), f"features of {Path(settings.track).name}"
    beside = {file: track_beside(file) for file in files}
    tracks = [one for one in beside.values() if one is not None]
    if root.is_dir() and not tracks:
        tracks = sorted(p for p in root.iterdir() if suffix_of(p) in TRACKS)
    if tracks:
        found: Features = {}
        for one in dict.fromkeys(tracks):
            for name, own in read_track(one, faults).items():
                found.setdefault(name, []).extend(own)
        return found, f"features of {', '.join(one.name for one in dict.fromkeys(tracks))}"
    if all(kind_of(file) == "genbank" for file in files):
        return None, "features of GenBank"
    expected = "GenBank, a table with a tag for each letter, or BED, GFF or GTF beside the sequences (--track)"
    raise DataError("the letters have no tags", expected=expected, where=root)


def _chosen(counts: Counter[str], asked: Sequence[str], path: str) -> list[str]:
    """The kinds of features that are tags."""
    if asked:
        missing = [name for name in asked if not counts[name]]
        if missing:
            expected = ", ".join(name for name, _ in counts.most_common(_MOST))
            raise ArgumentError("features: there are none of this kind", expected=expected, got=", ".join(missing))
        return list(asked)
    for some in _PREFERRED:
        if counts[some[0]]:
            return [name for name in some if counts[name]]
    kinds = [name for name, _ in counts.most_common(_MOST) if name not in _NO_TAGS]
    if not kinds:
        raise DataError("there are no features", expected="exon, CDS, gene or others", where=path)
    return kinds


def read_annotated(found: Annotated, settings: Any, faults: Faults) -> Iterator[SequenceRecord]:
    """Records with a tag for each letter. Faults: a feature that reaches beyond its sequence. Tells of ids of the track
    that no sequence has in `found.notes`; raises `DataError` where none has one."""
    met: set[str] = set()
    for file in found.files:
        columns = settings.sequence_column, None, settings.group, settings.tags_column
        for record in read_records(file, faults, *columns):
            if found.tags is None:
                if record.tags is not None:
                    yield record
                continue
            own: Sequence[Feature] = record.features if found.track is None else found.track.get(record.id, ())
            met.add(record.id)
            painted = _painted(record, own, found.tags, settings.stranded, faults)
            if painted is not None:
                yield record._replace(tags=painted, features=())
    strange = [] if found.track is None else [name for name in found.track if name not in met]
    if found.track is not None and len(strange) == len(found.track):
        expected, got = ", ".join(sorted(met)[:4]), ", ".join(strange[:4])
        raise DataError("the track's ids are those of no sequence", expected=expected, got=got)
    if strange:
        found.notes.append(f"features of {len(strange):,} ids that no sequence has, such as {strange[0]!r}")


def _painted(
    record: SequenceRecord, features: Sequence[Feature], tags: list[str], stranded: bool, faults: Faults
) -> bytes | None:
    """The tag of each letter; of features that overlap the first kind wins. None for a fault."""
    length = len(record.letters)
    rank = {name: number for number, name in enumerate(tags)}
    painted = np.zeros(length, np.uint8)
    wanted = []
    for one in features:
        name = f"{one.kind}-" if stranded and one.strand == "-" else one.kind
        if name in rank:
            wanted.append((rank[name], one))
    for number, one in sorted(wanted, key=lambda pair: -pair[0]):
        if not 0 <= one.begin < one.end <= length:
            what = "a feature reaches beyond its sequence"
            got = f"{one.kind} at {one.begin + 1:,} to {one.end:,}"
            faults.add(what, where=f"{record.where} ({record.id!r})", expected=f"up to {length:,}", got=got)
            return None
        painted[one.begin : one.end] = number
    return painted.tobytes()


def looks_annotated(path: Path) -> str | None:
    """Why sequences at a path look tagged; None where that is not plain."""
    try:
        files = sequence_files(path)
        tables = [file for file in files if kind_of(file) == "table"]
        if tables:
            head = read_head(tables[0])
            name = looks_like_sequences(head)
            found = None if name is None else find_sequences(head, tables[0], name)
            return found.reason if found is not None and found.tags is not None else None
        if all(kind_of(file) == "genbank" for file in files):
            kinds = {one.kind for record in islice(_genbank(files), 3) for one in record.features}
            known = sorted(kinds & {name for some in _PREFERRED for name in some})
            return f"GenBank records with features: {', '.join(known)}" if known else None
        beside = [track for file in files if (track := track_beside(file)) is not None]
        if not beside and path.is_dir():
            beside = [p for p in path.iterdir() if suffix_of(p) in TRACKS]
    except RondeauError:
        return None
    return f"{beside[0].name} has features of the sequences" if beside else None
