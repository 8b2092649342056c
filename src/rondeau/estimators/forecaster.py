"""`Forecaster`: the forecasting task for those who come from scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rondeau.data.faults import Faults
from rondeau.data.series.beat import Step, step_of
from rondeau.data.series.series import SeriesSet, extended
from rondeau.data.series.shape import Shape
from rondeau.data.tables.kinds import STAMPS
from rondeau.errors import DataError
from rondeau.tasks.forecasting.data import naive_errors
from rondeau.tasks.forecasting.model import DRAWS, forecast
from rondeau.tasks.forecasting.scores import errors, statistic, truths
from rondeau.tasks.forecasting.settings import ForecastingSettings
from rondeau.tasks.forecasting.task import Forecasting, refuse_no_counts
from rondeau.tasks.forecasting.windows import Origins, Scheme
from rondeau.tasks.task import Work
from rondeau.training.callbacks import EarlyStopping

_PASSED = ("cell", "units", "layers", "dropout", "epochs", "batch_size", "learning_rate", "clipnorm", "device")


class Forecaster(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type hints
    """What comes next in series, by the network of `rondeau train --task forecasting`.

    X of `fit`, `predict` and `score` is an array `(steps,)`, one series; an array `(series, steps)` or a list of
    `(steps,)`, several; or a pandas `Series` or `DataFrame` over time, a column a series, whose index of dates tells
    the calendar. NaN is a missing value.

    Args:
        horizon: steps to forecast (default 12).
        likelihood: 'student_t' (default), 'gaussian', 'negative_binomial' of counts, 'quantile', 'direct_quantile' (all
            steps at once: `sample` then gives rising quantiles of each step, no paths) or 'point'.
        season: steps of a season, 1 for none (default None: recognised). context: steps read (None: by the season).
        validation_fraction: the last share of the moments, on which the best epoch is chosen (default 0.1).
        patience: stop after so many epochs without a better one (default None).
        cell, units, layers, dropout, epochs, batch_size, learning_rate, clipnorm, device: see `rondeau train --task
            forecasting --help`.
        random_state: as everywhere in scikit-learn. verbose: as in `Model.fit` (default 0).

    Attributes: `model_`, the trained `rondeau.Model`; `scheme_`, what was learnt before it; `history_`, logs by name, a
    value an epoch; `season_`, steps, 1 for none.
    """

    def __init__(
        self,
        horizon: int = 12,
        likelihood: str = "student_t",
        season: int | None = None,
        context: int | None = None,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        cell: str = "lstm",
        units: int = 64,
        layers: int = 1,
        dropout: float = 0.3,
        epochs: int = 30,
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        clipnorm: float = 1.0,
        random_state: Any = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.horizon, self.likelihood, self.season, self.context = horizon, likelihood, season, context
        self.validation_fraction, self.patience = validation_fraction, patience
        self.cell, self.units, self.layers, self.dropout = cell, units, layers, dropout
        self.epochs, self.batch_size, self.learning_rate, self.clipnorm = epochs, batch_size, learning_rate, clipnorm
        self.random_state, self.device, self.verbose = random_state, device, verbose

    def fit(self, X: Any, y: Any = None) -> Forecaster:
        """Learn from series; `y` is not read.

        Raises `DataError` for what is no series, for series that are too short, and `ArgumentError` for parameters.
        """
        series = _series(X)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        settings = self._settings(seed)
        settings.check()
        refuse_no_counts(series, settings.kind)
        job = Forecasting()
        shape = Shape(None, None, tuple(series.names), (), True)
        data = job.divided(settings, series, shape, "X", Faults())
        scheme = job.prepare(settings, data)
        with torch.random.fork_rng(devices=[]):
            work: Work[ForecastingSettings] = Work(None, settings, data, scheme)  # type: ignore[arg-type]
            model, train, validation = job.untrained(work)
            best = EarlyStopping(patience=self.patience or self.epochs, restore_best_weights=True)
            fit = {"epochs": self.epochs, "validation_data": validation, "verbose": self.verbose}
            history = model.fit(train, callbacks=[best], **fit)
        self.model_, self.history_ = model, history.history
        self.scheme_ = job.settle(model, settings, scheme, data)
        self.season_ = scheme.seasons[0] if scheme.seasons else 1
        self._seed, self._learnt = seed, series
        return self

    def predict(self, X: Any = None) -> NDArray[np.float64]:
        """The medians of the next steps after each series' end, `(series, horizon)`; `(horizon,)` of one `(steps,)`.

        X: default: the series it was fitted on.
        """
        return self.predict_quantiles(X, (0.5,))[..., 0]

    def predict_quantiles(self, X: Any = None, levels: Any = (0.1, 0.5, 0.9)) -> NDArray[np.float64]:
        """Quantiles of the next steps, `(series, horizon, levels)`; without the first axis of one `(steps,)`."""
        found = np.quantile(self.sample(X), levels, axis=-2)
        return np.asarray(np.moveaxis(found, 0, -1), np.float64)

    def sample(self, X: Any = None, draws: int = DRAWS) -> NDArray[np.float64]:
        """Paths of the next steps, `(series, draws, horizon)`; without the first axis of one `(steps,)`."""
        check_is_fitted(self, "model_")
        series = self._learnt if X is None else replace(_series(X), step=self.scheme_.step)
        ahead = extended(series, self.scheme_.horizon)
        every = np.arange(len(ahead))
        origins = Origins(ahead, every, ahead.lengths, np.full(len(ahead), np.nan))
        paths = forecast(self.model_, self.scheme_, origins, self._seed, draws).astype(np.float64)
        return paths[0] if "alone" in series.notes else paths

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean absolute scaled error (MASE) of forecasting the last `horizon` steps of each series.

        Above -1 is better than the seasonal naive forecast was on the steps before. `y` is not read. Raises `DataError`
        for a series of fewer than `horizon + 2` steps.
        """
        check_is_fitted(self, "model_")
        series = replace(_series(X), step=self.scheme_.step)
        steps = series.lengths - self.scheme_.horizon
        if steps.min() < 2:
            expected = f"{self.scheme_.horizon + 2} steps or more"
            raise DataError("a series is too short to score", expected=expected, got=int(series.lengths.min()))
        every = np.arange(len(series))
        origins = Origins(series, every, steps, naive_errors(series, steps, self.season_))
        paths = forecast(self.model_, self.scheme_, origins, self._seed)
        found = errors(paths, truths(origins, self.scheme_.horizon), origins.units)
        return -statistic(found)(every)["mase"]

    def __getstate__(self) -> dict[str, Any]:
        """The model as its weights, and the rest as it is."""
        state = dict(super().__getstate__())
        model, scheme = state.pop("model_", None), state.pop("scheme_", None)
        if model is not None and scheme is not None:
            state["_weights"] = {name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}
            state["_scheme"] = scheme.to_json()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights, scheme = state.pop("_weights", None), state.pop("_scheme", None)
        super().__setstate__(state)
        if weights is not None:
            self.scheme_ = Scheme.from_json(scheme)
            self.model_ = Forecasting().build(self._settings(0), self.scheme_, None)
            self.model_.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
            self.model_.eval()

    def _settings(self, seed: int) -> ForecastingSettings:
        own = {name: getattr(self, name) for name in (*_PASSED, "horizon", "likelihood", "season", "context")}
        return ForecastingSettings(**own, validation=self.validation_fraction, test=0.0, seed=seed, insight=False)


def _series(X: Any) -> SeriesSet:
    """Series from what scikit-learn's users have; notes hold "alone" for one `(steps,)`."""
    if hasattr(X, "tocsr"):
        raise DataError("sparse data are not supported", got=type(X).__name__, fix="Use X.toarray()")
    names: list[str] = []
    stamps: NDArray[Any] | None = None
    if hasattr(X, "index") and hasattr(X, "to_numpy"):  # a frame or series of pandas
        index = X.index
        names = [str(name) for name in X.columns] if hasattr(X, "columns") else []
        if getattr(index, "dtype", None) is not None and index.dtype.kind == "M":
            stamps = np.asarray(index.to_numpy(), STAMPS)
            if not (np.diff(stamps).astype(np.int64) > 0).all():
                raise DataError("the index is not in order, or a moment comes twice", fix="Sort it: X.sort_index()")
        values = X.to_numpy(np.float64, na_value=np.nan)
        rows = [values] if values.ndim == 1 else list(values.T)
        alone = values.ndim == 1
    else:
        alone = len(X) > 0 and np.ndim(X[0]) == 0
        rows = [X] if alone else list(X)
    try:
        if any(np.iscomplexobj(row) for row in rows):
            raise DataError("Complex data not supported", fix="Give two series, or the size: abs(X)")
        parts = [np.asarray(row, np.float64) for row in rows]
    except (TypeError, ValueError) as error:
        raise DataError("a series holds no numbers", expected="(steps,) of floats", got=str(error)[:80]) from error
    for i, part in enumerate(parts):
        if part.ndim != 1 or not len(part) or np.isinf(part).any() or np.isnan(part).all():
            expected = "(steps,) of finite numbers, NaN where one is missing"
            raise DataError("this is no series", expected=expected, got=part.shape, where=f"series {i}")
    if not parts:
        raise DataError("there are no series", expected="at least one", got=0)
    lengths = np.asarray([len(part) for part in parts])
    offsets = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
    if stamps is None:
        all_stamps: NDArray[Any] = np.concatenate([np.arange(n, dtype=np.int64) for n in lengths])
        step = Step("number", 1.0)
    else:
        step = step_of(stamps, np.zeros(len(stamps), np.int64))
        places = np.rint(step.places(stamps, stamps[0]))
        if step.unit != "irregular" and (places != np.arange(len(stamps))).any():
            fix = "Give each step a row: X.asfreq(...)"
            raise DataError("the index leaves steps out", expected=f"a row {step.describe()}", fix=fix)
        all_stamps = np.tile(stamps, len(parts))
    names = names or [str(i) for i in range(len(parts))]
    notes = ["alone"] if alone else []
    return SeriesSet(names, offsets, np.concatenate(parts), all_stamps, step, notes=notes)
