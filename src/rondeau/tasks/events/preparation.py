"""What is learnt from the training part's events alone: words of each category, scales of each number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.tables.events import Coded, Events
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import CheckpointError, DataError
from rondeau.tasks.scaling import Scale, Seen

DAY, WEEK = 86400.0, 604800.0
CLOCK = 4  # columns that say the time of day and of the week


@dataclass(frozen=True)
class EventPreparation:
    """Preprocessing of events.

    `words`, `scales`: of each category and number by its column. `gap`: of the time since the entity's event before.
    `dated`: whether the time of day and of the week are known. `weight`: of a positive event in the loss.
    """

    words: Mapping[str, Vocabulary]
    scales: Mapping[str, Scale]
    gap: Scale
    dated: bool
    weight: float

    @classmethod
    def fit(
        cls, events: Events, parts: Iterable[NDArray[np.int64]], weight: float, most_words: int = 10_000
    ) -> EventPreparation:
        """From the rows of the training part, in one pass.

        Args:
            parts: these rows, some at a time.
            weight: of a positive event.
            most_words: a category keeps so many of its most frequent words; a word that came once is not known either,
                so that there is something to learn for unknown ones.
        """
        counts = {name: np.zeros(len(column.words), np.int64) for name, column in events.categories.items()}
        seen, gaps = {name: Seen() for name in events.numbers}, Seen()
        for rows in parts:
            for name, column in events.categories.items():
                counts[name] += np.bincount(events.of(column.codes, rows), minlength=len(column.words))
            for name, values in events.numbers.items():
                seen[name].update(events.of(values, rows))
            gaps.update(events.gaps_of(rows))
        words = {}
        for name, column in events.categories.items():
            known = {word: int(n) for word, n in zip(column.words, counts[name].tolist(), strict=True) if n}
            words[name] = Vocabulary.from_counts(Counter(known), 2, most_words)
        scales = {name: one.scale() for name, one in seen.items()}
        return cls(words, scales, gaps.scale(log=True), events.dated, weight)

    @property
    def features(self) -> int:
        """Columns of numbers that a step has."""
        return sum(scale.width for scale in self.scales.values()) + self.gap.width + CLOCK * self.dated

    def names(self) -> list[str]:
        """What these columns are called."""
        found = []
        for name, scale in self.scales.items():
            found += [name, f"{name} missing"][: scale.width]
        clock = ["time of day (sin)", "time of day (cos)", "weekday (sin)", "weekday (cos)"]
        return [
            *found,
            *["time since the last", "time since the last missing"][: self.gap.width],
            *clock[: CLOCK * self.dated],
        ]

    def ids(self, name: str, column: Coded) -> NDArray[np.int64]:
        """A category's ids, `(events,)`; words that the training part did not have are unknown."""
        ids: NDArray[np.int64] = self.table(name, column)[column.codes]
        return ids

    def table(self, name: str, column: Coded) -> NDArray[np.int64]:
        """The id of each of a category's words, `(words,)`."""
        return self.words[name].encode(column.words)

    def values(self, events: Events, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The columns of numbers of some rows, `(rows, features)`."""
        parts = [scale.apply(events.numbers[name][rows]) for name, scale in self.scales.items()]
        parts.append(self.gap.apply(events.gaps_of(rows)))
        if self.dated:
            times = events.times[rows]
            angles = [2 * np.pi * times / DAY, 2 * np.pi * times / WEEK]
            parts.append(np.stack([f(angle) for angle in angles for f in (np.sin, np.cos)], 1).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def check(self, events: Events) -> None:
        """Raise `DataError` for events without a column that the model has learnt from."""
        for kind, wanted, there in (
            ("category", self.words, events.categories),
            ("number", self.scales, events.numbers),
        ):
            missing = [name for name in wanted if name not in there]
            if missing:
                got = ", ".join([*events.categories, *events.numbers])
                raise DataError(f"the data have no {kind} of this name", expected=", ".join(missing), got=got)
        if self.dated and not events.dated:
            raise DataError("the time is no date, as it was in training", got=f"numbers, such as {events.times[0]:g}")

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {
            "words": {name: vocabulary.to_json() for name, vocabulary in self.words.items()},
            "scales": {name: scale.to_json() for name, scale in self.scales.items()},
            "gap": self.gap.to_json(),
            "dated": self.dated,
            "weight": self.weight,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventPreparation:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(
                {name: Vocabulary.from_json(one) for name, one in data["words"].items()},
                {name: Scale.from_json(one) for name, one in data["scales"].items()},
                Scale.from_json(data["gap"]),
                bool(data["dated"]),
                float(data["weight"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError("the preparation of events is damaged", got=repr(error)) from error
