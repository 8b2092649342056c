"""Which past values a forecast leans on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from rondeau.data.series.beat import texts
from rondeau.heads.likelihoods import likelihood
from rondeau.tasks.forecasting.windows import Origins, Scheme, cut, inputs_of
from rondeau.tasks.look import LONGEST, Explained

REST = "calendar, covariates and level"


class OneSeries(torch.nn.Module):
    """A network as a function of its numbers alone: ids of series and categories `(1, time)` are given."""

    def __init__(self, model: Any, ids: list[Tensor]) -> None:
        super().__init__()
        self.model, self.ids = model, ids

    def forward(self, x: Tensor) -> Tensor:
        if not self.ids:
            return self.model(x)  # type: ignore[no-any-return]
        return self.model((x, *(one.repeat(len(x), 1).to(x.device) for one in self.ids)))  # type: ignore[no-any-return]


def next_step(model: Any, scheme: Scheme, origin: Origins) -> Explained:
    """What the forecast of the step after an origin, its mean or middle, is made of: the past values, each with its
    moment, and all else that is read.

    A value is read several times, as the last one and as one a season ago; what these did is added up. Values before
    the last 120 count as one.
    """
    windows = cut(scheme, origin.data, origin.series, origin.steps, blind=True)
    end = scheme.context + 1  # the origin's own step, at which the values before it are read
    given = inputs_of(scheme, windows)
    x, *ids = given if isinstance(given, tuple) else (given,)
    x, ids = x[:, :end], [one[:, :end] for one in ids]
    kind = likelihood(scheme.likelihood)
    centre, scale = float(windows.centre[0]), float(windows.scale[0])

    def target(outputs: Tensor) -> Tensor:
        first = outputs[:, end - 1, : kind.size]
        return kind.mean(first, scale) if kind.counts else centre + scale * kind.mean(first)

    places = np.arange(scheme.before + scheme.context)  # of values before the origin, the oldest first
    begin = int(origin.data.offsets[origin.series[0]])
    first = int(origin.steps[0]) - len(places)
    known = places[places + first >= 0][-LONGEST:]
    stamps = texts(origin.data.stamps[begin + first + known])
    values = [float(f"{value:.4g}") for value in origin.data.values[begin + first + known]]

    def regrouped(features: Any) -> list[float]:
        moved = np.asarray(features)  # (steps read, features)
        found = np.zeros(len(places))
        for i, lag in enumerate(scheme.lags):
            np.add.at(found, scheme.before - lag + np.arange(end), moved[:, i])
        rest = float(moved.sum() - found[known].sum())
        return [*found[known].tolist(), rest]

    steps = [f"{stamp}: {value:g} " for stamp, value in zip(stamps, values, strict=True)]
    name = origin.data.names[int(origin.series[0])]
    at = texts(origin.data.stamps[begin + int(origin.steps[0])][None])[0]
    read = [f"{step - scheme.context} " for step in range(end)]
    answer = f"{name}, {at}"
    unit = (scheme.columns.get("targets") or ["value"])[0] if not scheme.columns.get("wide") else "value"
    return Explained(
        x, [*steps, REST], answer, None, target, OneSeries(model, ids), unit=unit, regrouped=regrouped, read=read
    )
