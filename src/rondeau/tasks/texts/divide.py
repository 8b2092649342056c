"""Documents divided so that none in a held-out part was seen in training, and what there was to say of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

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

    Documents that are equal but for blanks and capital letters are in one part, each class divided alike. With groups
    these are never divided, and a document that stands in a held-out part is left out of the training part: groups
    that were bound together by every "Thank you" in them would be one. Where the data come divided, their own parts
    are kept, and purged likewise; a part that is missing is drawn from the training part.

    Raises `DataError` for one class only, or nearly as many classes as documents.
    """
    classes = _check_classes(store)
    every = progress(range(len(store)), "looking for repeats", unit="documents")
    keys = np.fromiter((key_of(store[row].text) for row in every), np.uint64, len(store))
    grouped = store.groups[0] is not None
    notes = _note_equal(store, keys, grouped)
    together = store.groups if grouped else keys  # what is never divided
    if grouped:
        notes.append(f"divided by group: {len(store.groups.words):,} groups")
    given = {word or "": code for code, word in enumerate(store.parts.words)}
    if given.keys() - {""}:
        codes = store.parts.codes
        rows = {name: np.flatnonzero(codes == given.get(name, -1)) for name in Parts._fields}
        if grouped:
            notes += _leave_out(store, rows, store.groups.codes, "of groups that are")
        notes += _leave_out(store, rows, keys, "that stand")
        notes += _draw_missing(store, rows, together, validation, test, seed)
        parts = Parts(**rows)
    else:
        parts = split_rows(together, validation, test, seed, store.labels)
        if grouped:
            rows = parts._asdict()
            notes += _leave_out(store, rows, keys, "that stand")
            parts = Parts(**rows)
    rare = [name for name, count in classes.items() if count < 10]
    if rare:
        notes.append(f"classes with fewer than ten documents: {', '.join(map(repr, rare[:5]))}")
    return parts, notes


def _check_classes(store: DocumentStore) -> Mapping[str | None, int]:
    if not len(store):
        raise DataError("there are no documents", expected="texts with their classes", got=0)
    classes = store.labels.counts()
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


def _note_equal(store: DocumentStore, keys: NDArray[np.uint64], grouped: bool) -> list[str]:
    first, owner = np.unique(keys, return_index=True, return_inverse=True)[1:]
    more = len(keys) - len(first)
    if not more:
        return []
    notes = [f"{more:,} documents repeat others" + ("" if grouped else "; equal ones are kept in one part")]
    labels = store.labels.codes
    torn = np.unique(owner[labels != labels[first][owner]])  # texts that stand there with another class, too
    if len(torn):
        example = _short(store, int(first[torn].min()))
        notes.append(f"{len(torn):,} texts stand there with different classes, such as {example}")
    return notes


def _leave_out(store: DocumentStore, rows: dict[str, Rows], own: NDArray[Any], which: str) -> list[str]:
    """Take out of training what is held out, and out of validation what is in the test; `own`: of each row its key."""
    notes = []
    for name, others in (("test", ("validation", "train")), ("validation", ("train",))):
        for other in others:
            both = np.isin(own[rows[other]], own[rows[name]])
            if both.any():
                example = _short(store, int(rows[other][both][0]))
                what = f"{int(both.sum()):,} documents of the {other} part {which} in the {name} part, too"
                notes.append(f"{what} (such as {example}): left out of the {other} part")
                rows[other] = rows[other][~both]
    return notes


def _draw_missing(
    store: DocumentStore,
    rows: dict[str, Rows],
    together: Sequence[str | None] | NDArray[np.uint64],
    validation: float,
    test: float,
    seed: int,
) -> list[str]:
    """Draw the parts that the data do not come with from the training part."""
    shares = [0.0 if len(rows[name]) else share for name, share in (("validation", validation), ("test", test))]
    if not any(shares):
        return []
    train = rows["train"].tolist()
    keys, labels = (together[row] for row in train), [store.labels[row] for row in train]
    drawn = split_rows(keys, shares[0], shares[1], seed, labels)._asdict()
    notes = []
    for name in ("validation", "test"):
        if len(drawn[name]):
            notes.append(f"there is no {name} part: it is drawn from the training part")
            rows[name] = rows["train"][drawn[name]]
    rows["train"] = rows["train"][drawn["train"]]
    return notes


def _short(store: DocumentStore, row: int) -> str:
    text = " ".join(store[row].text.split())
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")
