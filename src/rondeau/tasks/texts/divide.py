"""Documents divided so that none in a held-out part was seen in training, and what there was to say of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rondeau.data.progress import progress
from rondeau.data.splits import Parts, split_rows
from rondeau.errors import DataError
from rondeau.tasks.texts.examples import DocumentStore

Rows = NDArray[np.int64]
_SHOWN = 60  # characters of a document


def divide(store: DocumentStore, validation: float, test: float, seed: int) -> tuple[Parts, list[str]]:
    """Training, validation and test rows, and notes in words.

    Documents that are equal but for blanks and capital letters, or of one group, are in one part. Where the data come
    divided, their own parts are kept; a part that is missing is drawn from the training part, and what stands in a
    held-out part is left out of the training part. Otherwise parts are drawn, each class divided alike.

    Raises `DataError` for one class only, or nearly as many classes as documents.
    """
    classes = _check_classes(store)
    keys = [key_of(store[row].text) for row in progress(range(len(store)), "looking for repeats", unit="documents")]
    notes = _note_equal(store, keys)
    if store.groups and store.groups[0] is not None:
        keys = _joined(keys, store.groups)
        notes.append(f"divided by group: {len(set(store.groups)):,} groups")
    given = np.array([part or "" for part in store.parts])
    if (given != "").any():
        parts, more = _keep(store, keys, given, validation, test, seed)
        notes += more
    else:
        parts = split_rows(keys, validation, test, seed, store.labels)
    rare = [name for name, count in classes.items() if count < 10]
    if rare:
        notes.append(f"classes with fewer than ten documents: {', '.join(map(repr, rare[:5]))}")
    return parts, notes


def _check_classes(store: DocumentStore) -> Counter[str | None]:
    if not len(store):
        raise DataError("there are no documents", expected="texts with their classes", got=0)
    classes = Counter(store.labels)
    if len(classes) == 1:
        got = f"{len(store):,} documents of {store.labels[0]!r}"
        raise DataError("there is one class only: nothing can be learnt", expected="two or more", got=got)
    if len(classes) > max(50, len(store) // 3):
        what = "nearly every document has a class of its own"
        fix = "Is it the right column? --label-column names it"
        raise DataError(what, got=f"{len(classes):,} classes in {len(store):,} documents", fix=fix)
    return classes


def key_of(text: str) -> int:
    """A number that stands for a text; blanks and capital letters make no difference."""
    plain = " ".join(text.split()).casefold()
    return int.from_bytes(hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _note_equal(store: DocumentStore, keys: Sequence[int]) -> list[str]:
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    equal = [own for own in rows.values() if len(own) > 1]
    if not equal:
        return []
    more = sum(map(len, equal)) - len(equal)
    notes = [f"{more:,} documents repeat others; equal ones are kept in one part"]
    torn = [own for own in equal if len({store.labels[row] for row in own}) > 1]
    if torn:
        notes.append(f"{len(torn):,} texts stand there with different classes, such as {_short(store, torn[0][0])}")
    return notes


def _joined(keys: Sequence[int], groups: Sequence[str | None]) -> list[int]:
    """One key for rows that are bound together by equal texts, equal groups, or a chain of both."""
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for values in (keys, groups):
        first: dict[int | str | None, int] = {}
        for row, value in enumerate(values):
            parent[root(row)] = root(first.setdefault(value, row))
    return [root(row) for row in range(len(keys))]


def _keep(
    store: DocumentStore, keys: Sequence[int], given: NDArray[np.str_], validation: float, test: float, seed: int
) -> tuple[Parts, list[str]]:
    """The parts the data come in, with nothing in training that is held out, nor in validation what is in the test."""
    rows = {name: np.flatnonzero(given == name) for name in Parts._fields}
    train, notes = rows["train"], []
    own = np.asarray(keys)
    for name in ("test", "validation"):
        held = rows[name]
        later = ("validation", "train") if name == "test" else ("train",)
        for other in later:
            both = np.isin(own[rows[other]], own[held])
            if both.any():
                example = _short(store, int(rows[other][both][0]))
                what = f"{int(both.sum()):,} documents of the {other} part stand in the {name} part, too"
                notes.append(f"{what} (such as {example}): left out of the {other} part")
                rows[other] = rows[other][~both]
    train = rows["train"]
    if not len(rows["validation"]) or not len(rows["test"]):
        shares = (0.0 if len(rows["validation"]) else validation, 0.0 if len(rows["test"]) else test)
        labels = [store.labels[row] for row in train.tolist()]
        drawn = split_rows(own[train].tolist(), shares[0], shares[1], seed, labels)
        for name, part in (("validation", drawn.validation), ("test", drawn.test)):
            if len(part):
                rows[name] = train[part]
                notes.append(f"there is no {name} part: it is drawn from the training part")
        train = train[drawn.train]
    return Parts(train, rows["validation"], rows["test"]), notes


def _short(store: DocumentStore, row: int) -> str:
    text = " ".join(store[row].text.split())
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")
