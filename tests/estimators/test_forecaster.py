"""`Forecaster`, as scikit-learn uses it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold

from rondeau.errors import ArgumentError, DataError
from rondeau.estimators import Forecaster


def waves(series: int = 3, steps: int = 90) -> Any:
    rng, t = np.random.default_rng(0), np.arange(steps)
    return np.stack(
        [20 * (i + 1) + 4 * np.sin(2 * np.pi * t / 7 + i) + 0.2 * rng.standard_normal(steps) for i in range(series)]
    )


def small(**changes: Any) -> Forecaster:
    return Forecaster(**{"horizon": 5, "units": 8, "epochs": 4, "random_state": 0, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return small(epochs=8).fit(waves()[:, :-5])


def test_it_forecasts_better_than_the_last_value(fitted: Forecaster) -> None:
    X = waves()
    ahead = fitted.predict()
    assert ahead.shape == (3, 5)
    assert fitted.season_ == 7
    persistence = np.abs(X[:, -6:-5] - X[:, -5:]).mean()
    assert np.abs(ahead - X[:, -5:]).mean() < persistence / 2
    np.testing.assert_array_equal(fitted.predict(X[:, :-5]), ahead)
    assert -1.5 < fitted.score(X) < 0


def test_quantiles_and_paths(fitted: Forecaster) -> None:
    quantiles = fitted.predict_quantiles(levels=(0.1, 0.5, 0.9))
    assert quantiles.shape == (3, 5, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert fitted.sample(draws=7).shape == (3, 7, 5)


def test_one_series_and_frames() -> None:
    import pandas as pd

    one = small(epochs=1).fit(waves()[0])
    assert one.predict().shape == (5,)
    assert one.predict_quantiles(levels=(0.1, 0.9)).shape == (5, 2)
    assert one.predict([waves()[0], waves()[1][:50]]).shape == (2, 5)
    frame = pd.DataFrame(waves().T, index=pd.date_range("2024-01-01", periods=90), columns=list("abc"))
    several = small(epochs=1).fit(frame)
    assert several.scheme_.cycles == ("hour", "day", "week")
    assert several.scheme_.names == ("a", "b", "c")
    assert several.predict(frame[["b"]]).shape == (1, 5)
    assert small(epochs=1).fit(frame["a"]).predict().shape == (5,)
    with pytest.raises(DataError, match="not in order"):
        small().fit(frame.iloc[::-1])
    with pytest.raises(DataError, match=r"leaves steps out.*asfreq"):
        small().fit(frame.drop(frame.index[40]))


def test_parameters_cloning_pickling_and_seeds(fitted: Forecaster) -> None:
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(), fitted.predict())
    X = waves()[:2, :60]
    state = torch.random.get_rng_state()
    first = small(epochs=1).fit(X).predict()
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(small(epochs=1).fit(X).predict(), first)
    assert (small(epochs=1, random_state=1).fit(X).predict() != first).any()


def test_a_grid_search_over_series() -> None:
    search = GridSearchCV(small(epochs=1), {"likelihood": ["gaussian", "point"]}, cv=KFold(2)).fit(waves(4, 60))
    assert search.best_params_["likelihood"] in ("gaussian", "point")
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "there are no series"),
        ([["a", "b"]], "holds no numbers"),
        ([[np.inf] * 30], "this is no series"),
        ([[np.nan] * 30], "this is no series"),
        (np.zeros((2, 30, 2)), "this is no series"),
        (np.arange(4.0), "the horizon is longer than the series"),
    ],
)
def test_what_is_no_series(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        small().fit(X)


def test_what_cannot_be(fitted: Forecaster) -> None:
    with pytest.raises(NotFittedError):
        small().predict()
    with pytest.raises(ArgumentError, match="likelihood"):
        small(likelihood="normal").fit(waves())
    with pytest.raises(ArgumentError, match="epochs"):
        small(epochs=0).fit(waves())
    with pytest.raises(DataError, match="is for counts"):
        small(likelihood="negative_binomial").fit(waves())
    with pytest.raises(DataError, match="too short to score"):
        fitted.score(np.arange(6.0))
