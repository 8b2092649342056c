"""What is usually made of an entity's past for a model without memory: counts, means, extremes, last values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.data.tables.events import Events
from rondeau.tasks.events.preparation import CLOCK, EventPreparation

Floats = NDArray[np.float64]
LAST = "last "  # before a category's name
COUNTED = 24  # of a category's most frequent words, each has a count of its own


class Aggregates(NamedTuple):
    """Features of each event from it and all before it.

    `names` and `values` `(events, features)`, NaN where unknown; `categories`: ids of the category now and last, by
    name, `(events,)`, which are no numbers.
    """

    names: list[str]
    values: NDArray[np.float32]
    categories: dict[str, NDArray[np.int64]]

    def take(self, rows: NDArray[np.int64]) -> Aggregates:
        """Those of some events."""
        return Aggregates(self.names, self.values[rows], {name: ids[rows] for name, ids in self.categories.items()})

    @classmethod
    def joined(cls, parts: Sequence[Aggregates]) -> Aggregates:
        """Of several parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        categories = {name: np.concatenate([part.categories[name] for part in parts]) for name in parts[0].categories}
        return cls(parts[0].names, np.concatenate([part.values for part in parts]), categories)


def aggregates(events: Events, preparation: EventPreparation) -> Aggregates:
    """Of every event: itself, and of its entity's events before it their number, the time since the first and the last,
    each number's mean, deviation, largest, smallest and last value and its ratio to the mean, and of each category its
    last word, how often the present word and each of the most frequent ones came, and how many words there were."""
    begins = events.offsets[:-1]
    past = np.arange(len(events)) - np.repeat(begins, np.diff(events.offsets))  # events before each
    started = np.repeat(events.times[begins], np.diff(events.offsets))
    columns: dict[str, Any] = {"events before": past, "time since the first": events.times - started}
    columns["time since the last"] = np.where(past == 0, np.nan, events.gaps)
    if events.dated:
        clock = preparation.values(events, np.arange(len(events)))[:, -CLOCK:]
        columns |= dict(zip(preparation.names()[-CLOCK:], clock.T, strict=True))
    for name in preparation.scales:
        columns |= _of_number(name, events.numbers[name].astype(np.float64), events.offsets, past)
    categories: dict[str, NDArray[np.int64]] = {}
    for name in preparation.words:
        ids = preparation.ids(name, events.categories[name])
        categories |= {name: ids, LAST + name: np.where(past == 0, 0, np.roll(ids, 1))}
        columns |= _of_category(name, ids, events, preparation.words[name].tokens)
    values = np.stack([np.asarray(column, np.float32) for column in columns.values()], axis=1)
    return Aggregates(list(columns), values, categories)


def _before(values: Floats, offsets: NDArray[np.int64]) -> Floats:
    """The sum of an entity's values before each event."""
    total = np.append(0.0, values.cumsum())
    before: Floats = total[:-1] - np.repeat(total[offsets[:-1]], np.diff(offsets))
    return before


def _of_number(name: str, given: Floats, offsets: NDArray[np.int64], past: NDArray[np.int64]) -> dict[str, Floats]:
    known = ~np.isnan(given)
    filled = np.where(known, given, 0.0)
    count = _before(known.astype(np.float64), offsets)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(count > 0, _before(filled, offsets) / count, np.nan)
        square = np.where(count > 0, _before(filled**2, offsets) / count, np.nan)
        ratio = np.where(mean != 0, given / mean, np.nan)
    largest, smallest = np.full(len(given), np.nan), np.full(len(given), np.nan)
    for begin, end in pairwise(offsets.tolist()):
        if end - begin > 1:
            largest[begin + 1 : end] = np.fmax.accumulate(given[begin : end - 1])
            smallest[begin + 1 : end] = np.fmin.accumulate(given[begin : end - 1])
    return {
        name: given,
        f"mean {name}": mean,
        f"deviation of {name}": np.sqrt(np.maximum(square - mean**2, 0)),
        f"largest {name}": largest,
        f"smallest {name}": smallest,
        f"last {name}": np.where(past == 0, np.nan, np.roll(given, 1)),
        f"{name} / mean": ratio,
    }


def _of_category(name: str, ids: NDArray[np.int64], events: Events, words: tuple[str, ...]) -> dict[str, Floats]:
    owners = events.owners
    order = np.lexsort((np.arange(len(ids)), ids, owners))
    begins = np.append(True, (np.diff(ids[order]) != 0) | (np.diff(owners[order]) != 0))
    place = np.arange(len(ids)) - np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))
    same = np.empty(len(ids))
    same[order] = place  # events before with the same word
    distinct = _before((same == 0).astype(np.float64), events.offsets)
    found = {f"{name}: this one before": same, f"{name}: words before": distinct}
    for id in range(1, min(len(words), COUNTED + 2)):
        found[f"{name}: {words[id]} before"] = _before((ids == id).astype(np.float64), events.offsets)
    return found
