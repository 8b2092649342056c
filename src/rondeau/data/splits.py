"""Training, validation and test rows that share nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import ArgumentError, DataError

Rows = NDArray[np.int64]


class Parts(NamedTuple):
    """The numbers of the rows in each part, rising."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    keys: Sequence[Any],
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    labels: Sequence[Any] | None = None,
) -> Parts:
    """Rows drawn by a hash of `seed` and their key: rows of one key stay together, on every machine in the same part.

    Args:
        keys: of each row what it belongs to, such as its document, speaker or customer; the row's own text or number
            where each stands alone.
        validation, test: shares of the rows, each at least 0, below 1 together.
        labels: of each row its class: each class is divided in these shares, as nearly as whole keys allow.

    Raises `ArgumentError` for shares out of range, `DataError` where a share is to be had and there are too few keys.

    >>> split_rows("aabbccddee", validation=0.2, test=0.2).test.tolist()
    [6, 7]
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ArgumentError(
            "the held-out shares leave nothing to train on",
            expected="validation >= 0, test >= 0, validation + test < 1",
            got=f"validation={validation}, test={test}",
        )
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        groups[key].append(row)
    wanted = 1 + (validation > 0) + (test > 0)
    if len(groups) < wanted:
        what = "there are too few different records to hold some out; equal ones, and those of one group, count once"
        raise DataError(what, expected=f"{wanted} or more", got=len(groups), fix="Give more data")
    strata: defaultdict[Any, list[Any]] = defaultdict(list)
    for key, rows in groups.items():
        strata[None if labels is None else labels[rows[0]]].append(key)
    parts: dict[str, list[int]] = {name: [] for name in Parts._fields}
    room = {"test": 0.0, "validation": 0.0}  # what rounding has kept from a part so far goes to the next class
    for keys_here in strata.values():
        drawn = sorted(keys_here, key=lambda key: _draw(seed, key))
        total = sum(len(groups[key]) for key in drawn)
        room["test"] += test * total
        room["validation"] += validation * total
        for key in drawn:
            size = len(groups[key])
            name = next((part for part in room if size <= 2 * room[part]), "train")  # brings it nearer to its share
            if name != "train":
                room[name] -= size
            parts[name] += groups[key]
    _fill(parts, {"test": test, "validation": validation}, groups, seed)
    return Parts(*(np.sort(np.asarray(parts[name], np.int64)) for name in Parts._fields))


def _fill(parts: dict[str, list[int]], shares: dict[str, float], groups: dict[Any, list[int]], seed: int) -> None:
    """A part that is to be had and is empty gets the smallest group that another can spare."""
    for name, share in shares.items():
        if share > 0 and not parts[name]:
            inside = set(parts["train"])
            spare = sorted(
                (key for key, rows in groups.items() if rows[0] in inside),
                key=lambda k: (len(groups[k]), _draw(seed, k)),
            )
            taken = set(groups[spare[0]])
            parts[name] += groups[spare[0]]
            parts["train"] = [row for row in parts["train"] if row not in taken]
    if not parts["train"]:
        raise DataError("nothing is left to train on", fix="Give more data, or smaller shares to hold out")


def split_in_time(order: Sequence[Any], validation: float = 0.1, test: float = 0.1) -> Parts:
    """The last rows by `order` are the test, those before them the validation; rows of one moment stay together.

    Raises `ArgumentError` and `DataError` as `split_rows` does.

    >>> [part.tolist() for part in split_in_time([3, 1, 2, 4, 5], validation=0.2, test=0.2)]
    [[0, 1, 2], [3], [4]]
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ArgumentError("the held-out shares leave nothing to train on", got=f"{validation} and {test}")
    moments = np.asarray(order)
    rows = np.argsort(moments, kind="stable")
    places = [round(len(rows) * (1 - validation - test)), round(len(rows) * (1 - test))]
    ends = [place - _same_before(moments[rows], place) for place in places]
    cut = np.split(rows, ends)
    if not len(cut[0]) or (validation > 0 and not len(cut[1])) or (test > 0 and not len(cut[2])):
        raise DataError("there are too few moments to hold some out", got=len(np.unique(moments)), fix="Give more data")
    return Parts(*(np.sort(part) for part in cut))


def _same_before(ordered: NDArray[Any], place: int) -> int:
    """How many rows right before `place` are of its moment."""
    same = 0
    while place - same > 0 and place < len(ordered) and ordered[place - same - 1] == ordered[place]:
        same += 1
    return same


def shared(train: Iterable[Any], held_out: Iterable[Any]) -> list[Any]:
    """What is in both: keys or whole records that have leaked from one part into the other, in the order held out."""
    known = set(train)
    return list(dict.fromkeys(one for one in held_out if one in known))


def _draw(seed: int, key: Any) -> bytes:
    return hashlib.blake2b(f"{seed} {key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
