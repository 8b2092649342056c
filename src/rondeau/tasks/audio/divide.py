"""Recordings divided so that no voice, and no recording, is on two sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.audio.index import AudioIndex
from rondeau.data.faults import Faults
from rondeau.data.splits import Parts, shared, split_rows
from rondeau.errors import DataError

Rows = NDArray[np.int64]
_NAMED = 5


def divide(
    index: AudioIndex, group: str | None, validation: float, test: float, seed: int, faults: Faults
) -> tuple[Parts, list[str]]:
    """Training, validation and test rows, and notes in words.

    Recordings of one speaker are in one part where speakers are known, unless `group` is "none". A division of the
    data's own stays what it is, and a part that it lacks is drawn from the training part; if it has a speaker on both
    sides and `group` forbids that, the speaker's training recordings go through `faults`. Recordings that are the same
    sample for sample are in one part.

    Raises `DataError` for too few speakers, and for a group that is asked for and not known.
    """
    speakers = list(index.speakers)
    known = sum(one is not None for one in speakers)
    if group not in (None, "none") and not known:
        fix = "Give a manifest with such a column, or --pattern with {speaker}"
        raise DataError(f"group: no recording has a {group}", fix=fix)
    by_speaker = bool(known) and group != "none"
    given = np.array([part or "" for part in index.parts])
    # a recording without a speaker stands for itself
    keys: list[Any] = [
        (speaker if by_speaker and speaker is not None else None) or index.key(row)
        for row, speaker in enumerate(speakers)
    ]
    notes = []
    if (given == "").all():
        if by_speaker and group is None and len(set(keys)) < 3:
            by_speaker, keys = False, [index.key(row) for row in range(len(index))]
        labels = None if by_speaker else list(index.labels)
        parts = split_rows(keys, validation, test, seed, labels)
        if by_speaker:
            notes.append(f"divided by speaker: {_count(speakers)} of them, each in one part (--group none: freely)")
    else:
        parts, told = _given(index, given, keys, by_speaker and group is not None, validation, test, seed, faults)
        notes += told
    return parts, notes + both_sides(index, parts)


def _given(
    index: AudioIndex,
    given: NDArray[Any],
    keys: Sequence[Any],
    strict: bool,
    validation: float,
    test: float,
    seed: int,
    faults: Faults,
) -> tuple[Parts, list[str]]:
    other = sorted(set(given) - {"", *Parts._fields})
    if other:
        raise DataError("a part of the data has an unknown name", expected="train, validation or test", got=other[0])
    rows = {name: np.flatnonzero(given == name) for name in Parts._fields}
    rows["train"] = np.sort(np.concatenate([rows["train"], np.flatnonzero(given == "")]))
    notes = ["the data's own division: " + ", ".join(f"{len(r):,} {name}" for name, r in rows.items() if len(r))]
    if strict:
        held = {keys[row] for name in ("validation", "test") for row in rows[name].tolist()}
        leaked = shared((keys[row] for row in rows["train"].tolist()), sorted(held, key=str))
        for speaker in leaked:
            what = "a speaker is on both sides of the division"
            faults.add(what, where=speaker, fix="Leave their recordings out of the training part")
        gone = set(leaked)
        rows["train"] = np.array([row for row in rows["train"].tolist() if keys[row] not in gone], np.int64)
    shares = [0.0 if len(rows[name]) else share for name, share in (("validation", validation), ("test", test))]
    if any(shares):
        train = rows["train"]
        own = [keys[row] for row in train.tolist()] if strict else [index.key(int(row)) for row in train]
        drawn = split_rows(own, shares[0], shares[1], seed, None if strict else [index.labels[int(r)] for r in train])
        for name in ("validation", "test"):
            if len(getattr(drawn, name)):
                rows[name] = train[getattr(drawn, name)]
        rows["train"] = train[drawn.train]
    return Parts(**rows), notes


def both_sides(index: AudioIndex, parts: Parts) -> list[str]:
    """What is to be told of speakers, and of equal recordings, that are in the training part and in the test."""
    sides = [{index.speakers[int(row)] for row in part} - {None} for part in (parts.train, parts.test)]
    both, notes = shared(sorted(map(str, sides[0])), sorted(map(str, sides[1]))), []
    if both:
        named = ", ".join(both[:_NAMED]) + (", ..." if len(both) > _NAMED else "")
        notes.append(
            f"{len(both)} of the {len(sides[1])} speakers of the test part are in the training part too ({named}): "
            "the figures are of voices that were learnt; --group speaker divides by speaker"
        )
    keys = [{index.key(int(row)) for row in part} for part in (parts.train, parts.test)]
    same = len(keys[0] & keys[1])
    if same:
        notes.append(f"{same:,} recordings of the test part are in the training part too, sample for sample")
    return notes


def _count(speakers: Sequence[str | None]) -> int:
    return len(set(speakers) - {None})
