"""Training, validation and test rows that share nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    keys: Iterable[Any],
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    labels: Sequence[Any] | None = None,
) -> Parts:
    """Rows drawn by a hash of `seed` and their key: rows of one key stay together, on every machine in the same part.

    Args:
        keys: of each row what it belongs to, such as its document, speaker or customer; the row's own text or number
            where each stands alone. They are gone through once; eight bytes are kept of each.
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
    draws = np.fromiter((_draw(seed, key) for key in keys), np.uint64)
    _, first, owner, sizes = np.unique(draws, return_index=True, return_inverse=True, return_counts=True)
    wanted = 1 + (validation > 0) + (test > 0)
    if len(sizes) < wanted:
        what = "there are too few different records to hold some out; equal ones, and those of one group, count once"
        raise DataError(what, expected=f"{wanted} or more", got=len(sizes), fix="Give more data")
    part = np.full(len(sizes), _TRAIN)  # of each group, in the order in which they are drawn
    room = {_TEST: 0.0, _VALIDATION: 0.0}  # what rounding has kept from a part so far goes to the next class
    for drawn in _strata(first, labels):
        total = int(sizes[drawn].sum())
        room[_TEST] += test * total
        room[_VALIDATION] += validation * total
        for group, size in zip(drawn.tolist(), sizes[drawn].tolist(), strict=True):
            to = next((one for one in room if size <= 2 * room[one]), _TRAIN)  # brings it nearer to its share
            if to != _TRAIN:
                room[to] -= size
                part[group] = to
    _fill(part, {_TEST: test, _VALIDATION: validation}, sizes)
    of_rows = part[owner.reshape(-1)]
    return Parts(*(np.flatnonzero(of_rows == number) for number in (_TRAIN, _VALIDATION, _TEST)))


_TRAIN, _VALIDATION, _TEST = range(3)


def _strata(first: Rows, labels: Sequence[Any] | None) -> Iterator[Rows]:
    """The groups of each class, by the label of their first row; classes in the order in which they come."""
    if labels is None:
        yield np.arange(len(first))
        return
    strata: defaultdict[Any, list[int]] = defaultdict(list)
    came: dict[Any, int] = {}
    for group, row in enumerate(first.tolist()):
        label = labels[row]
        strata[label].append(group)
        came[label] = min(row, came.get(label, row))
    for label in sorted(came, key=lambda one: came[one]):
        yield np.array(strata[label], np.int64)


def _fill(part: Rows, shares: dict[int, float], sizes: Rows) -> None:
    """A part that is to be had and is empty gets the smallest group that another can spare."""
    for number, share in shares.items():
        spare = np.flatnonzero(part == _TRAIN)
        if share > 0 and not (part == number).any() and len(spare):
            part[spare[sizes[spare].argmin()]] = number
    if not (part == _TRAIN).any():
        raise DataError("nothing is left to train on", fix="Give more data, or smaller shares to hold out")


def split_in_time(order: Sequence[Any], validation: float = 0.1, test: float = 0.1) -> Parts:
    """The last rows by `order`, numbers, are the test, those before them the validation; see `cuts_in_time`.

    >>> [part.tolist() for part in split_in_time([3, 1, 2, 4, 5], validation=0.2, test=0.2)]
    [[0, 1, 2], [3], [4]]
    """
    moments = np.asarray(order, np.float64)
    first, second = cuts_in_time(lambda: [moments], validation, test)
    numbers = np.searchsorted([first, second], moments, "right")
    return Parts(*(np.flatnonzero(numbers == part) for part in range(3)))


def cuts_in_time(
    parts: Callable[[], Iterable[NDArray[np.float64]]], validation: float = 0.1, test: float = 0.1
) -> tuple[float, float]:
    """The moments at which the validation and the test part begin; rows of one moment stay together.

    Args:
        parts: gives all rows' moments, some at a time, as often as it is called; only some are in memory.

    Raises `ArgumentError` and `DataError` as `split_rows` does.

    >>> cuts_in_time(lambda: [np.array([3.0, 1.0, 2.0]), np.array([4.0, 5.0])], 0.2, 0.2)
    (4.0, 5.0)
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ArgumentError("the held-out shares leave nothing to train on", got=f"{validation} and {test}")
    rows = sum(len(part) for part in parts())
    places = [round(rows * (1 - validation - test)), round(rows * (1 - test))]
    first, second = (_smallest(parts, place) if place < rows else np.inf for place in places)
    sizes = np.zeros(3, np.int64)
    for part in parts():
        sizes += np.bincount(np.searchsorted([first, second], part, "right"), minlength=3)
    if not sizes[0] or (validation > 0 and not sizes[1]) or (test > 0 and not sizes[2]):
        what = "there are too few moments to hold some out"
        raise DataError(what, expected="moments for each part", got=f"{sizes.tolist()} rows", fix="Give more data")
    return first, second


def _smallest(parts: Callable[[], Iterable[NDArray[np.float64]]], place: int) -> float:
    """The number that stands at a place, from 0, in rising order: sixteen of its bits are found at a time."""
    found = np.uint64(0)
    for shift in (48, 32, 16, 0):
        counts = np.zeros(1 << 16, np.int64)
        for part in parts():
            keys = _rising(part)
            own = keys if shift == 48 else keys[keys >> np.uint64(shift + 16) == found]
            counts += np.bincount(((own >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64), minlength=1 << 16)
        ends = counts.cumsum()
        digit = int(np.searchsorted(ends, place, "right"))
        place -= int(ends[digit] - counts[digit])
        found = (found << np.uint64(16)) | np.uint64(digit)
    bits = found ^ _SIGN if found >= _SIGN else ~found
    return float(np.array([bits], np.uint64).view(np.float64)[0])


_SIGN = np.uint64(1 << 63)


def _rising(numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Whole numbers in the order of these."""
    bits = np.ascontiguousarray(numbers, np.float64).view(np.uint64)
    keys: NDArray[np.uint64] = np.where(bits >= _SIGN, ~bits, bits | _SIGN)
    return keys


def shared(train: Iterable[Any], held_out: Iterable[Any]) -> list[Any]:
    """What is in both: keys or whole records that have leaked from one part into the other, in the order held out."""
    known = set(train)
    return list(dict.fromkeys(one for one in held_out if one in known))


def _draw(seed: int, key: Any) -> int:
    digest = hashlib.blake2b(f"{seed} {key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
