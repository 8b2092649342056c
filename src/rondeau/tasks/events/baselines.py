"""Logistic regression and gradient boosting on aggregates over each entity's past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import MissingExtraError
from rondeau.tasks.events.aggregates import Aggregates, aggregates
from rondeau.tasks.events.pieces import Pieces
from rondeau.tasks.events.preparation import EventPreparation
from rondeau.tasks.ranking import Ranking

MOST_CATEGORIES = 254  # what gradient boosting takes; rarer words are one
GRID = tuple(  # the best on the validation part is taken
    {"learning_rate": rate, "max_leaf_nodes": leaves} for rate, leaves in ((0.05, 15), (0.1, 31), (0.1, 8))
)
SHOWN = 30  # words of a category with a column of their own in logistic regression


def baseline_scores(
    parts: Sequence[Pieces], preparation: EventPreparation, seed: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Names, and the probability of every event of the data by a baseline learnt from the training part.

    `parts`: training, validation and test, of the same events. Raises `MissingExtraError` without scikit-learn.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[table]'"
        raise MissingExtraError("the baselines need scikit-learn", fix=fix) from error
    events = parts[0].events
    labels = np.zeros(len(events), np.int8) if events.labels is None else events.labels
    known = aggregates(events, preparation)
    train, held = parts[0].known(), parts[1].known()
    plain = _plain(known)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
    linear.fit(plain[train], labels[train] == 1)
    yield "logistic regression on aggregates", _scores(linear, plain)
    mixed, categorical = _mixed(known)
    best: tuple[float, Any] | None = None
    for options in GRID:
        trees = HistGradientBoostingClassifier(
            categorical_features=categorical, max_iter=300, early_stopping=True, random_state=seed, **options
        ).fit(mixed[train], labels[train] == 1)
        value = Ranking(labels[held] == 1, _scores(trees, mixed[held])).figures()["average_precision"]
        if best is None or value > best[0]:
            best = value, trees
    if best is not None:
        yield "gradient boosting on aggregates", _scores(best[1], mixed)


def _scores(model: Any, x: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(model.predict_proba(x)[:, 1], np.float64)


def _plain(known: Aggregates) -> NDArray[np.float32]:
    """Numbers and their logarithms, 0 where unknown, and a column for each frequent word."""
    values = np.nan_to_num(known.values)
    columns = [values, np.sign(values) * np.log1p(np.abs(values))]
    for ids in known.categories.values():
        most = min(int(ids.max(initial=0)) + 1, SHOWN)
        columns.append((ids[:, None] == np.arange(most)[None]).astype(np.float32))
    return np.concatenate(columns, axis=1)


def _mixed(known: Aggregates) -> tuple[NDArray[np.float32], list[int]]:
    """Numbers and categories as trees take them, and which columns are categories."""
    ids = [np.minimum(column, MOST_CATEGORIES).astype(np.float32) for column in known.categories.values()]
    width = known.values.shape[1]
    x = np.concatenate([known.values, *(column[:, None] for column in ids)], axis=1) if ids else known.values
    return x, list(range(width, width + len(ids)))
