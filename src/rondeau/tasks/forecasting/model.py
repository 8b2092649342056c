"""The network that forecasts, and forecasts drawn from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau import layers
from rondeau.data.progress import Meter
from rondeau.heads.likelihoods import likelihood
from rondeau.init import by_name
from rondeau.models.language_model import CELLS
from rondeau.models.model import Model
from rondeau.models.rolled_out import roll_out
from rondeau.tasks.forecasting import direct
from rondeau.tasks.forecasting.calibration import widened
from rondeau.tasks.forecasting.windows import Numbers, Origins, Scheme, Windows, cut, inputs, inputs_of, lag_features

DRAWS = 200
_ROWS = 8192  # sample paths that are drawn at once


def network(scheme: Scheme, cell: str, units: int, depth: int, dropout: float) -> Any:
    """What `Windows.x` and ids say -> the likelihood's outputs at every step, `(batch, time, size)`.

    A recurrent network beside a linear one, whose answers are added: what goes on as it did needs no hidden state, and
    is learnt in few steps (the autoregressive part of Lai et al. 2018, arXiv 1703.07015).
    """
    kind = by_name(cell, CELLS, "cell")
    x = layers.Input((None, scheme.features), name="past")
    ids, parts = [], [x]
    for name, known in [*([("series", scheme.names)] if scheme.names else []), *scheme.words.items()]:
        given = layers.Input((None,), dtype="int64", name=f"{_word(name)}_id")
        width = min(16, 2 + round(len(known) ** 0.5))
        ids.append(given)
        parts.append(layers.Embedding(len(known) + 1, width, name=f"{_word(name)}_embedding")(given))
    h = layers.Concatenate()(parts) if ids else x
    together = h
    for _ in range(depth):
        if dropout:
            h = layers.Dropout(dropout)(h)
        h = kind(units, return_sequences=True)(h)
    if dropout:
        h = layers.Dropout(dropout)(h)
    size = likelihood(scheme.likelihood).size * (scheme.horizon if scheme.direct else 1)
    linear = layers.Dense(size, name="linear", kernel_initializer="zeros")(together)
    outputs = layers.Add()([layers.Dense(size, use_bias=False, name="recurrent")(h), linear])
    return Model([x, *ids] if ids else x, outputs)


def _word(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def forecast(model: Any, scheme: Scheme, origins: Origins, seed: int = 0, draws: int = DRAWS) -> NDArray[np.float32]:
    """Sample paths of the steps from each origin on, `(origins, draws, horizon)` in the target's unit.

    Each path is drawn step by step, the value drawn being read at the next (Salinas et al. 2020, arXiv 1704.04110). A
    'point' has one path; where all steps are given at once (`scheme.direct`) nothing is drawn. The paths are spread
    about their median as `scheme.widening` says. What comes after an origin is not looked at, covariates apart. `seed`
    draws the same again.
    """
    kind = likelihood(scheme.likelihood)
    draws = 1 if kind.name == "point" else draws
    generator = np.random.default_rng(seed)
    made = np.empty((len(origins), draws, scheme.horizon), np.float32)
    at_once = max(1, _ROWS // draws)
    with Meter("forecasting", len(origins), "origins") as meter:
        for begin in range(0, len(origins), at_once):
            some = slice(begin, begin + at_once)
            windows = cut(scheme, origins.data, origins.series[some], origins.steps[some], blind=True)
            if scheme.direct:
                made[some] = direct.paths(model, scheme, windows, inputs_of(scheme, windows), draws)
            else:
                made[some] = _drawn(model, scheme, windows, generator, draws)
            meter.advance(len(windows.x))
    return widened(made, scheme.widening)


def _drawn(model: Any, scheme: Scheme, windows: Windows, generator: np.random.Generator, draws: int) -> Numbers:
    kind = likelihood(scheme.likelihood)
    known, lagged = scheme.context, len(scheme.lags) + 1
    rows = len(windows.x)
    past = windows._replace(x=windows.x[:, :known], ids=[one[:, :known] for one in windows.ids])
    repeated = [np.repeat(one[:, known:], draws, 0) for one in windows.ids]
    fixed = np.repeat(windows.x[:, known:, lagged:], draws, 0)
    history = np.repeat(windows.history, draws, 0)
    seen = np.repeat(windows.seen, draws, 0)
    scale = np.repeat(windows.scale, draws)
    first = scheme.before + known
    units = torch.from_numpy(scale)[:, None] if kind.counts else 1.0

    def ask(step: int) -> Any:
        lags = lag_features(scheme, history, seen, first + step, 1)
        x = np.concatenate([lags, fixed[:, step : step + 1]], -1).astype(np.float32)
        now = [np.ascontiguousarray(one[:, step : step + 1]) for one in repeated]
        return inputs(windows._replace(x=x, ids=now))

    def take(step: int, outputs: Any) -> None:
        drawn = kind.sample(outputs.double().cpu(), generator, units)[:, 0].numpy()
        history[:, first + step] = drawn / scale if kind.counts else drawn
        seen[:, first + step] = True

    roll_out(model, inputs(past), scheme.horizon, ask, take, draws)
    centre = np.repeat(windows.centre, draws)
    paths: Numbers = history[:, first:] * scale[:, None] + centre[:, None]
    return paths.reshape(rows, draws, scheme.horizon)
