"""What is learnt from the training part's series alone: classes, and a scale for each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rondeau.data.series.ts import Series
from rondeau.data.tables.roles import Roles
from rondeau.errors import CheckpointError, DataError
from rondeau.tasks.scaling import Scale


@dataclass(frozen=True)
class SeriesPreparation:
    """Preprocessing of series: `classes` in order, of each channel its `scales` and its name in `channels`; of a table
    its columns' `roles`, so that another is read alike."""

    classes: tuple[str, ...]
    scales: tuple[Scale, ...]
    channels: tuple[str, ...]
    roles: Roles | None = None

    @classmethod
    def fit(
        cls, series: Sequence[Series], channels: Sequence[str] | None = None, classes: Sequence[str] | None = None
    ) -> SeriesPreparation:
        """From the training part.

        Args:
            classes: in the order of the data's own list; default: those that are there, sorted.

        Raises `DataError` for series of one class, and for those of unlike channels.
        """
        present = {one.label for one in series if one.label is not None}
        if len(present) < 2:
            got = ", ".join(map(repr, sorted(present))) or "none"
            raise DataError("there is only one class to learn", expected="two or more", got=got)
        order = [c for c in classes or () if c in present] or sorted(present)
        width = series[0].values.shape[1]
        names = tuple(channels or [f"channel {i}" for i in range(1, width + 1)])
        return cls(tuple(order), channel_scales([one.values for one in series]), names)

    def values(self, series: Series) -> NDArray[np.float32]:
        """`(steps, features)`. Raises `DataError` for another number of channels."""
        return scaled(series.values, self.scales, series.where)

    def number(self, series: Series) -> int:
        """The number of a series' class. Raises `DataError` for one that the training part did not have."""
        if series.label not in self.classes:
            expected = ", ".join(self.classes[:12])
            fix = "Give such series to the training part as well, or leave them out"
            what = "a class that the training part did not have"
            raise DataError(what, expected=expected, got=series.label, where=series.where, fix=fix)
        return self.classes.index(series.label)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        scales = [scale.to_json() for scale in self.scales]
        roles = None if self.roles is None else self.roles._asdict()
        return {"classes": list(self.classes), "scales": scales, "channels": list(self.channels), "roles": roles}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SeriesPreparation:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            scales = tuple(Scale.from_json(one) for one in data["scales"])
            roles = Roles(**data["roles"]) if data.get("roles") else None
            return cls(tuple(map(str, data["classes"])), scales, tuple(map(str, data["channels"])), roles)
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of series is damaged", got=repr(error)) from error


def channel_scales(series: Sequence[NDArray[Any]]) -> tuple[Scale, ...]:
    """The scale of each channel over all steps of some series `(steps, channels)`. `DataError` for unlike channels."""
    width = series[0].shape[1]
    for number, values in enumerate(series):
        if values.shape[1] != width:
            what = "a series has another number of channels"
            raise DataError(what, expected=width, got=values.shape[1], where=f"series {number}")
    return tuple(Scale.fit(np.concatenate([values[:, i] for values in series]), log=False) for i in range(width))


def scaled(values: NDArray[Any], scales: Sequence[Scale], where: str = "") -> NDArray[np.float32]:
    """`(steps, channels)` -> `(steps, features)`, a column more for each channel that may have missing values."""
    if values.ndim != 2 or values.shape[1] != len(scales):
        got = values.shape[1] if values.ndim == 2 else values.shape
        raise DataError("a series has another number of channels", expected=len(scales), got=got, where=where or None)
    return np.concatenate([scale.apply(values[:, i]) for i, scale in enumerate(scales)], axis=1)
