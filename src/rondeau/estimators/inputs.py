"""What an estimator is given as X, as one array a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from rondeau.errors import DataError
from rondeau.sequence import Ragged


class Inputs(NamedTuple):
    """Sequences: of each an array `(steps, features)` of floats, or with `words` a list of words.

    `table`: whether they were the rows of a 2-D array, each a series of one feature.
    """

    sequences: list[Any]
    table: bool = False
    words: bool = False


def read_inputs(estimator: Any, x: Any, reset: bool) -> Inputs:
    """Sequences from what scikit-learn's users have.

    Args:
        estimator: whose `n_features_in_` is set where `reset`, and else held against X: columns of a 2-D array, or
            features of a step.
        x: a 3-D array `(sequences, steps, features)`; a 2-D array, list of equal lists or data frame, whose rows are
            series of one feature; a list or object array of sequences of any length, each `(steps,)` or `(steps,
            features)`, or of words; or a `Ragged`. NaN is a missing value.

    Raises `DataError` for what is none of these, for infinite values, and for another number of features than in fit.
    """
    if isinstance(x, Ragged):
        x = [row.detach().cpu().numpy() for row in x.rows()]
    given = x if not _listed(x) else list(x)
    words = isinstance(given, list) and bool(given) and _of_words(given)
    if not reset and words != (estimator.vocabulary_ is not None):
        got, expected = ("words", "numbers, as in fit") if words else ("numbers", "words, as in fit")
        raise DataError(f"X holds {got}", expected=expected)
    if words:
        _known(estimator, 1, reset)
        return Inputs([[str(word) for word in words] for words in given], words=True)
    if isinstance(given, list) and _as_they_are(given):
        return Inputs(_several(estimator, given, reset))
    if isinstance(given, np.ndarray) and given.ndim == 3:
        if given.dtype.kind not in "fiub":
            raise DataError("the sequences hold no numbers", expected="numbers", got=given.dtype)
        return Inputs(_several(estimator, list(given), reset))
    table = validate_data(estimator, x, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
    if np.isinf(table).any():
        raise DataError("X holds infinity or a value too large", got="inf")
    return Inputs([row[:, None] for row in np.asarray(table)], table=True)


def _listed(x: Any) -> bool:
    """Whether x is a list of sequences, or an array that holds one in each place."""
    if isinstance(x, np.ndarray):
        return x.dtype == object and x.ndim == 1 and all(hasattr(row, "__len__") for row in x)
    return isinstance(x, (list, tuple))


def _of_words(rows: list[Any]) -> bool:
    first = next((row for row in rows if hasattr(row, "__len__") and len(row)), None)
    return first is not None and not isinstance(first, str) and isinstance(first[0], str)


def _as_they_are(rows: list[Any]) -> bool:
    """Whether rows are sequences of their own, and not the rows of one table."""
    if not rows or not all(hasattr(row, "__len__") and not isinstance(row, str) for row in rows):
        return False
    return np.ndim(rows[0][0] if len(rows[0]) else 0.0) > 0 or len({len(row) for row in rows}) > 1


def _several(estimator: Any, rows: Sequence[Any], reset: bool) -> list[NDArray[np.float64]]:
    if not len(rows):
        raise DataError("there are no sequences", expected="at least one", got=0)
    made = []
    for number, row in enumerate(rows):
        try:
            array = np.asarray(row, np.float64)
        except (TypeError, ValueError) as error:
            where = f"sequence {number}"
            raise DataError("a sequence is no array of numbers", where=where, got=str(error)[:80]) from error
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or not len(array):
            expected = "(steps,) or (steps, features), with a step at least"
            raise DataError(
                "a sequence has another form", expected=expected, got=array.shape, where=f"sequence {number}"
            )
        if np.isinf(array).any():
            raise DataError("a value is infinite", where=f"sequence {number}")
        made.append(array)
    width = made[0].shape[1]
    wrong = next((i for i, array in enumerate(made) if array.shape[1] != width), None)
    if wrong is not None:
        what = "the sequences differ in features"
        raise DataError(what, expected=width, got=made[wrong].shape[1], where=f"sequence {wrong}")
    _known(estimator, width, reset)
    return made


def _known(estimator: Any, width: int, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = width
    elif not estimator.table_ and estimator.n_features_in_ != width:
        raise DataError(
            f"X has {width} features a step, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    elif estimator.table_ and width != 1:
        raise DataError("X has several features a step; the model learnt from a table, one a step", got=width)
