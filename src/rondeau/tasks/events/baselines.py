"""Logistic regression and gradient boosting on aggregates over each entity's past."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.progress import progress
from rondeau.data.tables.events import Events
from rondeau.errors import MissingExtraError
from rondeau.tasks.events.aggregates import LAST, Aggregates, aggregates
from rondeau.tasks.events.pieces import Pieces
from rondeau.tasks.events.preparation import EventPreparation
from rondeau.tasks.ranking import Ranking

Floats = NDArray[np.float64]
MOST_CATEGORIES = 254  # what gradient boosting takes; rarer words are one
GRID = tuple(  # the best on the validation part is taken
    {"learning_rate": rate, "max_leaf_nodes": leaves} for rate, leaves in ((0.05, 15), (0.1, 31), (0.1, 8))
)
BLOCK = 1 << 17  # events whose aggregates are made at once
MOST_ROWS = 1 << 18  # events that baselines learn from
SHOWN = 30  # words of a category with a column of their own in logistic regression


def baseline_scores(
    parts: Sequence[Pieces], preparation: EventPreparation, seed: int, most: int = MOST_ROWS
) -> Iterator[tuple[str, Floats, Floats]]:
    """Of each baseline its name, and the probabilities of the chosen validation events and of all test events.

    Args:
        parts: training, validation and test, of the same events.
        most: events that are learnt from, and on which the best is chosen; of more, so many evenly spread
            ones (see `chosen`).

    Raises `MissingExtraError` without scikit-learn.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[table]'"
        raise MissingExtraError("the baselines need scikit-learn", fix=fix) from error
    past = _Past(parts[0].events, preparation)
    train, held, test = chosen(parts[0], most), chosen(parts[1], most), parts[2].known()
    learnt, truth = past.events.labels_of(train) == 1, past.events.labels_of(held) == 1
    known, (mixed_held, _) = past.of(train), past.mixed(past.of(held))
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
    linear.fit(past.plain(known), learnt)
    name = "logistic regression on aggregates"
    on_held, on_test = past.scores((held, test), lambda found: _scores(linear, past.plain(found)))
    yield name, on_held, on_test
    mixed, categorical = past.mixed(known)
    best: tuple[float, Any] | None = None
    for options in progress(GRID, "boosting trees", unit="choices"):
        trees = HistGradientBoostingClassifier(
            categorical_features=categorical, max_iter=300, early_stopping=True, random_state=seed, **options
        ).fit(mixed, learnt)
        value = Ranking(truth, _scores(trees, mixed_held)).figures()["average_precision"]
        if best is None or value > best[0]:
            best = value, trees
    if best is not None:
        boosted = best[1]
        (on_test,) = past.scores((test,), lambda found: _scores(boosted, past.mixed(found)[0]))
        yield "gradient boosting on aggregates", _scores(boosted, mixed_held), on_test


def chosen(part: Pieces, most: int = MOST_ROWS) -> NDArray[np.int64]:
    """The rows of a part that have a label, or, of more than `most`, so many evenly spread ones."""
    known, _ = part.counts()
    places = np.arange(known) if known <= most else np.linspace(0, known - 1, most).round().astype(np.int64)
    found, seen = [np.zeros(0, np.int64)], 0
    for rows in part.blocks(known=True):
        found.append(rows[_within(places, seen, seen + len(rows)) - seen])
        seen += len(rows)
    return np.concatenate(found)


class _Past:
    """Aggregates of some rows: they are made for a stretch of entities at a time, and the last one is kept."""

    def __init__(self, events: Events, preparation: EventPreparation) -> None:
        self.events, self.preparation = events, preparation
        self._last: tuple[tuple[int, int], Aggregates] | None = None

    def _blocks(self, rows: Sequence[NDArray[np.int64]], what: str) -> Iterator[tuple[int, int, Aggregates]]:
        """The events, in stretches that hold one of the rows: from which to which, and their aggregates."""
        for block in progress(list(self.events.blocks(BLOCK)), what, unit="stretches"):
            begin, end = self.events.offsets[list(block)].tolist()
            if not any(len(_within(own, begin, end)) for own in rows):
                continue
            if self._last is None or self._last[0] != block:
                self._last = block, aggregates(self.events.part(*block), self.preparation)
            yield begin, end, self._last[1]

    def of(self, rows: NDArray[np.int64]) -> Aggregates:
        """The aggregates of some rows, which rise."""
        found = [
            part.take(_within(rows, begin, end) - begin)
            for begin, end, part in self._blocks([rows], "looking at the past")
        ]
        return Aggregates.joined(found)

    def scores(self, rows: Sequence[NDArray[np.int64]], score: Callable[[Aggregates], Floats]) -> list[Floats]:
        """The scores of rows, which rise."""
        found: list[list[Floats]] = [[] for _ in rows]
        for begin, end, part in self._blocks(rows, "scoring by the past"):
            for own, many in zip(rows, found, strict=True):
                here = _within(own, begin, end) - begin
                many += [score(part.take(here))] if len(here) else []
        return [np.concatenate([np.zeros(0), *many]) for many in found]

    def plain(self, known: Aggregates) -> NDArray[np.float32]:
        """Numbers and their logarithms, 0 where unknown, and a column for each frequent word."""
        values = np.nan_to_num(known.values)
        columns = [values, np.sign(values) * np.log1p(np.abs(values))]
        for name, ids in known.categories.items():
            most = min(self.preparation.words[name.removeprefix(LAST)].size, SHOWN)
            columns.append((ids[:, None] == np.arange(most)[None]).astype(np.float32))
        return np.concatenate(columns, axis=1)

    def mixed(self, known: Aggregates) -> tuple[NDArray[np.float32], list[int]]:
        """Numbers and categories as trees take them, and which columns are categories."""
        ids = [np.minimum(column, MOST_CATEGORIES).astype(np.float32) for column in known.categories.values()]
        width = known.values.shape[1]
        x = np.concatenate([known.values, *(column[:, None] for column in ids)], axis=1) if ids else known.values
        return x, list(range(width, width + len(ids)))


def _within(rows: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    first, last = np.searchsorted(rows, [begin, end]).tolist()
    return rows[first:last]


def _scores(model: Any, x: NDArray[Any]) -> Floats:
    return np.asarray(model.predict_proba(x)[:, 1], np.float64)
