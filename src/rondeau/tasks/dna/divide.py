"""Sequences divided so that none of a held-out part was learnt from."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.dna.store import SequenceStore
from rondeau.data.splits import Parts, split_rows
from rondeau.errors import DataError

Rows = NDArray[np.int64]


def divide(
    store: SequenceStore,
    given: Sequence[str | None],
    validation: float,
    test: float,
    seed: int,
    both_strands: bool = False,
    grouped: bool = False,
) -> tuple[Parts, list[str]]:
    """Training, validation and test rows, and notes.

    Equal sequences are in one part (with `both_strands` also one and its reverse complement); with groups whole groups
    are. Where the data come divided (`given`: of each record its part) that division is kept, and what stands in a
    held-out part is left out of the others; a part that is missing is drawn from the training part.

    Raises `DataError` for fewer than two classes, or nearly as many as sequences.
    """
    _check_classes(store)
    keys = sequence_keys(store, both_strands)
    notes = _repeats(store, keys)
    together: Sequence[Any] = store.groups if grouped else keys.tolist()
    if grouped:
        notes.append(f"divided by group: {len(set(store.groups)):,} groups")
    named = np.array([part or "" for part in given])
    if not (named != "").any():
        parts = split_rows(together, validation, test, seed, store.labels)._asdict()
        if grouped:
            notes += leave_out(store, parts, keys)
        return Parts(**parts), notes
    parts = {name: np.flatnonzero(named == name) for name in Parts._fields}
    notes += leave_out(store, parts, keys)
    missing = [0.0 if len(parts[name]) else share for name, share in (("validation", validation), ("test", test))]
    if any(missing):
        train = parts["train"]
        own, labels = [together[row] for row in train], [store.labels[row] for row in train]
        drawn = split_rows(own, missing[0], missing[1], seed, labels)._asdict()
        for name in ("validation", "test"):
            if len(drawn[name]):
                notes.append(f"there is no {name} part: it is drawn from the training part")
                parts[name] = train[drawn[name]]
        parts["train"] = train[drawn["train"]]
    return Parts(**parts), notes


def sequence_keys(store: SequenceStore, both_strands: bool) -> NDArray[np.uint64]:
    """A number that stands for each sequence; with `both_strands` the same for its reverse complement."""
    if not both_strands or store.alphabet.complement is None:
        return store.keys
    found: NDArray[np.uint64] = store.keys.copy()
    for row in range(len(store)):
        other = store.alphabet.reverse_complement(store.read(row))
        key = int.from_bytes(hashlib.blake2b(other.tobytes(), digest_size=8).digest(), "little")
        found[row] = min(int(found[row]), key)
    return found


def leave_out(store: SequenceStore, parts: dict[str, Rows], keys: NDArray[np.uint64]) -> list[str]:
    """Take out of the other parts what stands in a held-out one, naming how many and one of them."""
    notes = []
    for name, others in (("test", ("validation", "train")), ("validation", ("train",))):
        for other in others:
            both = np.isin(keys[parts[other]], keys[parts[name]])
            if both.any():
                first = int(parts[other][both][0])
                twin = int(parts[name][keys[parts[name]] == keys[first]][0])
                notes.append(
                    f"{int(both.sum()):,} sequences of the {other} part stand in the {name} part, too (such as "
                    f"{store.id(first)!r}, equal to {store.id(twin)!r}): left out of the {other} part"
                )
                parts[other] = parts[other][~both]
    return notes


def _check_classes(store: SequenceStore) -> None:
    if not len(store):
        raise DataError("there are no sequences", expected="sequences with their classes", got=0)
    classes = Counter(store.labels)
    if len(classes) == 1:
        got = f"{len(store):,} sequences of {store.labels[0]!r}"
        raise DataError("there is one class only: nothing can be learnt", expected="two or more", got=got)
    if len(classes) > max(50, len(store) // 3):
        fix = "Is it the right column? --label-column names it"
        got = f"{len(classes):,} classes in {len(store):,} sequences"
        raise DataError("nearly every sequence has a class of its own", got=got, fix=fix)


def _repeats(store: SequenceStore, keys: NDArray[np.uint64]) -> list[str]:
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys.tolist()):
        rows[key].append(row)
    equal = [own for own in rows.values() if len(own) > 1]
    if not equal:
        return []
    first = equal[0]
    more = sum(map(len, equal)) - len(equal)
    such = f"such as {store.id(first[0])!r} and {store.id(first[1])!r}"
    notes = [f"{more:,} sequences repeat others ({such}); equal ones are kept in one part"]
    torn = [own for own in equal if len({store.labels[row] for row in own}) > 1]
    if torn:
        notes.append(f"{len(torn):,} sequences have two classes, such as {store.id(torn[0][0])!r}")
    return notes
