"""Series as windows that a network reads: a stretch of past before an origin, then the steps to forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.series.beat import Step, calendar
from rondeau.data.series.series import SeriesSet
from rondeau.heads.likelihoods import likelihood
from rondeau.tasks.forecasting import direct
from rondeau.training.batch import Batch
from rondeau.training.source import Source, shuffled

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]
EPOCH = 20_000  # windows of an epoch at most: those of a long table overlap
UPDATES = 20  # of an epoch at least: a short series is gone through several times
_UNKNOWN_SHARE = 20  # of so many training windows one is read without its series' name, so that new series are known


@dataclass(frozen=True)
class Scheme:
    """What is learnt from the training part before the model is, and how a window is cut.

    Attributes:
        horizon, context: steps to forecast, and those read before them.
        seasons, lags: steps of each season; values so many steps ago that are read at every step.
        step: the series' beat; likelihood: of the answers.
        names: the series the model knows; new ones have id 0. words: the same of each category.
        numbers: mean and deviation of each known covariate; level: those of the logarithm of the windows' scales.
        cycles: of the calendar, that are read; least: scale of a window.
        features: numbers that are read at a step.
        columns: which columns of a table mean what: target, time, entity, known, and whether it is wide.
        direct: whether all steps ahead are given at once, see `direct`.
        widening: what the distance of the paths from their median is multiplied by, see `calibration`.
    """

    horizon: int
    context: int
    seasons: tuple[int, ...]
    lags: tuple[int, ...]
    step: Step
    likelihood: str
    names: tuple[str, ...] = ()
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    level: tuple[float, float] = (0.0, 1.0)
    cycles: tuple[str, ...] = ()
    least: float = 1e-8
    features: int = 0
    columns: dict[str, Any] = field(default_factory=dict)
    direct: bool = False
    widening: float = 1.0

    @property
    def before(self) -> int:
        """Steps before a window that its lags reach back to."""
        return max(self.lags)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Scheme:
        """What `to_json` gave."""
        made = dict(data)
        made["step"] = Step(**data["step"])
        for name in ("seasons", "lags", "names", "level", "cycles"):
            made[name] = tuple(data[name])
        made["words"] = {name: tuple(words) for name, words in data["words"].items()}
        made["numbers"] = {name: tuple(pair) for name, pair in data["numbers"].items()}
        return cls(**made)


class Origin(NamedTuple):
    """A place in a series where a forecast begins: steps before `step` are known; `itself`, alone among `Origins`."""

    series: str
    step: int
    itself: Any = None


class Origins(Sequence[Any]):
    """Places in series where forecasts begin.

    Args:
        series, steps: `(origins,)`: the number of each one's series in `data`, and its place there.
        units: `(series,)`: what MASE divides by, the mean error of the seasonal naive forecast on the training part.
    """

    def __init__(self, data: SeriesSet, series: Rows, steps: Rows, units: Numbers) -> None:
        self.data, self.series, self.steps, self.units = data, series, steps, units

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, int):
            alone = Origins(self.data, self.series[[at]], self.steps[[at]], self.units)
            return Origin(self.data.names[int(self.series[at])], int(self.steps[at]), alone)
        return Origins(self.data, self.series[at], self.steps[at], self.units)


class Windows(NamedTuple):
    """Windows of `time = context + horizon` steps, as the network reads them.

    x `(rows, time, features)`; ids, one array `(rows, time)` for the series and one for each category; history
    `(rows, before + time)` scaled values, the last one known where one is missing; seen, of the same shape, whether it
    is there; values `(rows, time)` in the target's unit, NaN where missing; centre and scale `(rows,)`.
    """

    x: NDArray[np.float32]
    ids: list[NDArray[np.int64]]
    history: Numbers
    seen: NDArray[np.bool_]
    values: Numbers
    centre: Numbers
    scale: Numbers


def cut(scheme: Scheme, data: SeriesSet, series: Rows, steps: Rows, blind: bool = False) -> Windows:
    """The windows at some origins.

    Args:
        blind: whether the values from the origin on are hidden, as in a forecast; the caller fills them in as it goes.
    """
    time, before = scheme.context + scheme.horizon, scheme.before
    places = steps[:, None] - scheme.context - before + np.arange(before + time)
    starts, ends = data.offsets[series][:, None], data.offsets[series + 1][:, None]
    inside = (places >= 0) & (starts + places < ends)
    at = np.clip(starts + places, starts, ends - 1)
    values = np.where(inside, data.values[at], np.nan)
    if blind:
        values[:, before + scheme.context :] = np.nan
    past = values[:, : before + scheme.context]
    centre, scale = _scales(past, scheme)
    scaled = (values - centre[:, None]) / scale[:, None]
    history, seen = _filled(scaled), ~np.isnan(scaled)
    now = at[:, before:]
    stamps = data.stamps[now]
    static = [np.log(scale), np.sign(centre) * np.log1p(np.abs(centre / scale))]
    static[0] = (static[0] - scheme.level[0]) / scheme.level[1]
    parts = [np.broadcast_to(one[:, None, None], (*now.shape, 1)) for one in static]
    parts.append(calendar(stamps, scheme.step, scheme.cycles)[0])
    if scheme.step.unit == "irregular":
        gaps = np.diff(data.stamps[at[:, before - 1 :]].astype(np.int64), axis=1)
        parts.append(np.log(np.maximum(gaps, 1) / scheme.step.size)[..., None])
    for name, (mean, deviation) in scheme.numbers.items():
        parts.append(np.nan_to_num((data.numbers[name][now] - mean) / deviation)[..., None])
    fixed = np.concatenate(parts, -1)
    lagged = lag_features(scheme, history, seen, before, time)
    ids = [np.broadcast_to(_ids(data.names, scheme.names)[series][:, None], now.shape)] if scheme.names else []
    for name, words in scheme.words.items():
        column = data.words[name]
        ids.append(np.append(_ids(column.labels, words), 0)[column.values[now]])
    x = np.concatenate([lagged, fixed], -1).astype(np.float32)
    return Windows(x, [np.ascontiguousarray(one) for one in ids], history, seen, values[:, before:], centre, scale)


def lag_features(
    scheme: Scheme, history: Numbers, seen: NDArray[np.bool_], first: int, count: int
) -> NDArray[np.float64]:
    """What is read of earlier values at `count` steps from place `first` of `history` on: `(rows, count, features)`."""
    lags = [history[:, first - lag : first - lag + count] for lag in scheme.lags]
    return np.stack([*lags, seen[:, first - 1 : first - 1 + count]], -1)


def _scales(past: Numbers, scheme: Scheme) -> tuple[Numbers, Numbers]:
    """Centre and scale of each row's past: mean and deviation; of counts 0 and, as DeepAR's, 1 + mean."""
    there = ~np.isnan(past)
    count = np.maximum(there.sum(1), 1)
    mean = np.where(there, past, 0).sum(1) / count
    if likelihood(scheme.likelihood).counts:
        return np.zeros(len(past)), 1 + np.maximum(mean, 0)
    square = np.where(there, past - mean[:, None], 0) ** 2
    deviation = np.sqrt(square.sum(1) / count)
    return mean, np.maximum(np.maximum(deviation, 1e-2 * np.abs(mean)), scheme.least)


def _filled(scaled: Numbers) -> Numbers:
    """Each missing value as the last one before it; 0, the centre, before the first."""
    there = ~np.isnan(scaled)
    last = np.maximum.accumulate(np.where(there, np.arange(scaled.shape[1]), -1), 1)
    filled: Numbers = np.where(last >= 0, np.take_along_axis(scaled, np.maximum(last, 0), 1), 0.0)
    return filled


def _ids(names: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Of each name its number among the known from 1 on, 0 of a new one."""
    numbers = {name: i for i, name in enumerate(known, 1)}
    return np.asarray([numbers.get(name, 0) for name in names], np.int64)


def inputs_of(scheme: Scheme, windows: Windows) -> Any:
    """What the model takes of whole windows: x alone, or a tuple of x and ids."""
    if not scheme.direct:
        return inputs(windows)
    ids = [np.ascontiguousarray(one[:, : scheme.context + 1]) for one in windows.ids]
    return inputs(windows._replace(x=direct.inputs(scheme, windows), ids=ids))


def inputs(windows: Windows) -> Any:
    """x alone, or a tuple of x and ids, as tensors."""
    x = torch.from_numpy(windows.x)
    return (x, *(torch.from_numpy(one) for one in windows.ids)) if windows.ids else x


def targets(scheme: Scheme, windows: Windows, past: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What the loss takes, `(rows, time, 1)` or of counts `(rows, time, 2)`, and weights `(rows, time)`.

    `past`: the weight of steps before the origin; missing values have none. Of all steps at once see `direct.targets`.
    """
    if scheme.direct:
        return direct.targets(scheme, windows, past)
    known = np.any(windows.seen[:, : windows.seen.shape[1] - scheme.horizon], axis=1)  # else there is no scale
    there = ~np.isnan(windows.values) & known[:, None]
    values = np.nan_to_num(windows.values)
    if likelihood(scheme.likelihood).counts:
        stacked = np.stack([values, np.broadcast_to(windows.scale[:, None], values.shape)], -1)
    else:
        stacked = (np.where(there, values - windows.centre[:, None], 0) / windows.scale[:, None])[..., None]
    weights = there * np.where(np.arange(values.shape[1]) < scheme.context, past, 1.0)
    return torch.from_numpy(stacked.astype(np.float32)), torch.from_numpy(weights.astype(np.float32))


class WindowBatches(Source):
    """Windows at origins, cut when they are needed; in training in a new order each epoch, of many a new choice.

    An epoch is 20,000 windows at most, and at least 20 batches of training, however few there are.

    Args:
        past: the weight in the loss of the steps before the origin.
    """

    def __init__(self, scheme: Scheme, origins: Origins, batch_size: int, training: bool, past: float) -> None:
        self.scheme, self.origins, self.batch_size = scheme, origins, batch_size
        self.training, self.past = training, past
        self.rows = min(len(origins), EPOCH)
        if training:
            self.rows = max(self.rows, UPDATES * batch_size)

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def batches(self, epoch: int, start: int, seed: int) -> Iterator[Batch]:
        every = len(self.origins)
        if self.training:
            passes = -(-self.rows // every)
            order = torch.cat([shuffled(every, epoch * passes + i, seed) for i in range(passes)])[: self.rows]
        else:
            order = torch.linspace(0, every - 1, self.rows, dtype=torch.float64).round().long()
        for part in torch.split(order, self.batch_size)[start:]:
            rows = part.numpy()
            found = cut(self.scheme, self.origins.data, self.origins.series[rows], self.origins.steps[rows])
            if self.training and found.ids and self.scheme.names:
                found.ids[0][(rows + epoch) % _UNKNOWN_SHARE == 0] = 0
            y, weights = targets(self.scheme, found, self.past)
            yield Batch(inputs_of(self.scheme, found), y, weights)
