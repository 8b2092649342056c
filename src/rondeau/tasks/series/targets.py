"""What is learnt from the training part's series and their targets alone, and how good numbers said of series are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.series.ts import Series
from rondeau.errors import CheckpointError, DataError
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.scaling import Scale
from rondeau.tasks.series.preparation import channel_scales, scaled

Floats = NDArray[np.float64]
SHARE = 0.8  # of the truth that the interval about an answer is to hold


@dataclass(frozen=True)
class TargetPreparation:
    """Preprocessing of series and targets: of each channel its scale and name, the target's mean and deviation.

    `margin`: how far the truth was from four of five answers on the validation part, once the model is trained.
    """

    scales: tuple[Scale, ...]
    channels: tuple[str, ...]
    mean: float
    deviation: float
    margin: float = math.nan

    @classmethod
    def fit(cls, series: Sequence[Series], channels: Sequence[str] | None = None) -> TargetPreparation:
        """From the training part. Raises `DataError` for one target alone, and for series of unlike channels."""
        answers = targets(series)
        if len(series) < 2 or answers.min() == answers.max():
            got = f"{answers[0]:g} throughout" if len(series) else "no series"
            raise DataError("there is only one target to learn", expected="two or more", got=got)
        names = tuple(channels or [f"channel {i}" for i in range(1, series[0].values.shape[1] + 1)])
        scales = channel_scales([one.values for one in series])
        return cls(scales, names, float(answers.mean()), float(answers.std()))

    def values(self, series: Series) -> NDArray[np.float32]:
        """`(steps, features)`. Raises `DataError` for another number of channels."""
        return scaled(series.values, self.scales, series.where)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        told = {
            "mean": self.mean,
            "deviation": self.deviation,
            "margin": None if math.isnan(self.margin) else self.margin,
        }
        return {"scales": [scale.to_json() for scale in self.scales], "channels": list(self.channels), **told}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetPreparation:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            scales = tuple(Scale.from_json(one) for one in data["scales"])
            margin = math.nan if data["margin"] is None else float(data["margin"])
            channels = tuple(map(str, data["channels"]))
            return cls(scales, channels, float(data["mean"]), float(data["deviation"]), margin)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("the preparation of series is damaged", got=repr(error)) from error


def targets(series: Sequence[Series]) -> Floats:
    """The targets, `(series,)`."""
    return np.asarray([math.nan if one.target is None else one.target for one in series], np.float64)


def with_targets(
    series: Sequence[Series], faults: Faults, groups: Sequence[str] | None = None
) -> tuple[list[Series], list[str] | None]:
    """The series, labels that are numbers taken for targets, and their groups.

    One whose label is none goes through `faults`. Raises `DataError` where none is left.
    """
    found, kept = [], []
    for row, one in enumerate(series):
        target = one.target
        if target is None:
            try:
                target = float(one.label or "")
            except ValueError:
                target = math.nan
        if math.isfinite(target):
            found.append(replace(one, label=None, target=target))
            kept.append(row)
        else:
            fix = "Classes are the matter of --task series_classification"
            faults.add("a target is no number", where=one.where, got=repr(one.label), fix=fix)
    if not found:
        raise DataError("no series with a target is left", expected="a number for each series")
    return found, None if groups is None else [groups[row] for row in kept]


def margin(truth: Floats, said: Floats) -> float:
    """How far from an answer the truth is four times in five, by answers on series not learnt from (split conformal
    prediction: Lei et al. 2018, arXiv 1604.04173). The best epoch was chosen on them too: rather too little."""
    far = np.sort(np.abs(truth - said))
    return float(far[min(math.ceil((len(far) + 1) * SHARE), len(far)) - 1])


def figures(truth: Floats, said: Floats, within: float | None = None) -> dict[str, float]:
    """`rmse`, `mae`, `r2` where the truth varies, and, given a margin, `coverage_80`: the share within it."""
    wrong = truth - said
    found = {"rmse": float(np.sqrt((wrong**2).mean())), "mae": float(np.abs(wrong).mean())}
    spread = float(((truth - truth.mean()) ** 2).sum())
    if spread > 0:
        found["r2"] = 1 - float((wrong**2).sum()) / spread
    if within is not None:
        found["coverage_80"] = float((np.abs(wrong) <= within).mean())
    return found


def spread(truth: Floats, said: Floats, within: float | None = None) -> dict[str, tuple[float, float]]:
    """Intervals of `figures` by the bootstrap."""
    return intervals(lambda rows: figures(truth[rows], said[rows], within), len(truth))


def by_size(truth: Floats, said: Floats) -> dict[str, Any]:
    """A table of quarters of the targets: how far answers are off there, and to which side."""
    rows = []
    for part in np.array_split(np.argsort(truth, kind="stable"), 4):
        if len(part):
            wrong = said[part] - truth[part]
            ends = f"{truth[part].min():.4g} to {truth[part].max():.4g}"
            rows.append([ends, len(part), f"{np.abs(wrong).mean():.4g}", f"{wrong.mean():+.4g}"])
    return {"title": "By size of the target", "heads": ["target", "series", "mean error", "too large by"], "rows": rows}
