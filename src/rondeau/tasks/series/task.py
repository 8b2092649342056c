"""Which class a whole series belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.series.ts import Series, ts_files
from rondeau.data.standard_input import standard_input
from rondeau.data.tables.roles import Roles
from rondeau.errors import ArgumentError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.job import Data, Examples, Job, Judged
from rondeau.tasks.look import Explained
from rondeau.tasks.series import baselines as series_baselines
from rondeau.tasks.series.model import series_model
from rondeau.tasks.series.preparation import SeriesPreparation
from rondeau.tasks.series.reading import Wanted, digest_of, divide, find_series
from rondeau.tasks.settings import Settings, option
from rondeau.training.losses import SparseCategoricalCrossentropy

Numbers = NDArray[np.int64]
SHOWN_STEPS = 300  # of a series that is explained
SHOWN = 20  # series in the report's table of mistakes


@dataclass(frozen=True)
class SeriesShape(Settings):
    """What jobs of whole series can be asked; chosen on validation parts, the same for all data."""

    validation: float = option(0.2, "Share of the training data on which the best epoch is chosen.")
    units: int = option(64, "Units of a recurrent layer, in each direction.")
    batch_size: int = option(16, "Series of a batch.")
    epochs: int = option(100, "Times all of the training part is read, at most.")
    patience: int | None = option(30, "Stop after so many epochs without a better one.")
    learning_rate: float = option(3e-3, "Of Adam, at the start; it falls along a cosine.")
    series: str | None = option(None, "Column that names the series, in a table with a row a step.")
    time: str | None = option(None, "Column of the time, in such a table.")
    label: str | None = option(None, "Column of the class or the target, in such a table.")
    channels: tuple[str, ...] = option((), "Columns of numbers, in such a table. Default: all others.")
    encoding: str = option("utf-8", "Of CSV and JSON lines.")
    filters: int = option(32, "Filters of the convolution in front; 0: none.")
    kernel: int = option(9, "Steps that a filter sees.")
    stride: int = option(1, "Steps from one place of a filter to the next; above 1 it shortens long series.")
    bidirectional: bool = option(True, "Recurrent layers in both directions.")

    def check(self) -> None:
        super().check()
        for name, least in (("filters", 0), ("kernel", 1), ("stride", 1)):
            if getattr(self, name) < least:
                raise ArgumentError(name, expected=f"{least} or more", got=getattr(self, name))

    @property
    def wanted(self) -> Wanted:
        """The columns asked for."""
        return Wanted(self.series, self.time, self.label, self.channels, self.group, self.encoding)

    @property
    def network(self) -> str:
        """The network in words."""
        parts = f"{self.cell}, {self.layers} x {self.units}"
        parts += " in both directions" if self.bidirectional else ""
        return parts + (f", after a convolution of {self.filters}" if self.filters else "")


@dataclass(frozen=True)
class SeriesSettings(SeriesShape):
    """What series classification can be asked."""

    class_weights: str = option("equal", "How much a series counts: the same, or its class.", ("equal", "balanced"))


@dataclass
class SeriesData(Data):
    """Series, the names of their `channels`, their `classes` in the order of the data's own list, a table's `roles`."""

    channels: list[str] | None = None
    classes: tuple[str, ...] | None = None
    roles: Roles | None = None


class SeriesClassification(Job[SeriesSettings]):
    """Series of numbers, each with a class: `.ts` files, or a table with a row a step."""

    name: ClassVar[str] = "series_classification"
    title: ClassVar[str] = "series classification"
    demo: ClassVar[str] = "made gestures, of four kinds"
    settings = SeriesSettings
    extra: ClassVar[str | None] = "table"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy", percent=True), Metric("macro_f1"))

    def guess(self, path: Path) -> str | None:
        files = ts_files(path)
        if files:
            return f"{files[0].name} is a .ts file of series"
        return _looks_like_series(path)

    def demo_settings(self) -> SeriesSettings:
        return replace(SeriesSettings(), test=0.2, epochs=30)

    def read(self, settings: SeriesSettings) -> Data:
        faults = Faults(settings.on_error)
        found = find_series(settings.path, settings.wanted, faults, settings.seed)
        parts = divide(found, settings.validation, settings.test, settings.seed, faults)
        names = ("train", "validation", "test")
        sizes = {"series": dict(zip(names, map(len, parts), strict=True))}
        sizes["steps"] = {name: sum(len(s.values) for s in part) for name, part in zip(names, parts, strict=True)}
        train, validation, test = parts
        about = faults.to_json(), found.notes, found.channels, found.classes, found.roles
        return SeriesData(found.name, train, validation, test, sizes, digest_of(parts), *about)

    def prepare(self, settings: SeriesSettings, data: Data) -> SeriesPreparation:
        channels = data.channels if isinstance(data, SeriesData) else None
        classes = data.classes if isinstance(data, SeriesData) else None
        found = SeriesPreparation.fit(data.train, channels, classes)
        return replace(found, roles=data.roles) if isinstance(data, SeriesData) else found

    def load_prepared(self, data: dict[str, Any]) -> SeriesPreparation:
        return SeriesPreparation.from_json(data)

    def build(self, settings: SeriesSettings, prepared: SeriesPreparation, data: Data | None) -> Any:
        s = settings
        features = sum(scale.width for scale in prepared.scales)
        shape = (features, len(prepared.classes), s.cell, s.units, s.layers, s.dropout)
        return series_model(*shape, s.filters, s.kernel, s.stride, s.bidirectional)

    def loss(self, settings: SeriesSettings, prepared: SeriesPreparation, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: SeriesSettings, prepared: SeriesPreparation) -> list[Any]:
        return ["accuracy"]

    def batches(
        self, settings: SeriesSettings, prepared: SeriesPreparation, examples: Examples, training: bool
    ) -> tuple[Any, ...]:
        x, y = [prepared.values(one) for one in examples], numbers(prepared, examples)
        if settings.class_weights == "equal" or not training:
            return x, y
        counts = np.bincount(y, minlength=len(prepared.classes))
        return x, y, (len(y) / (len(counts) * counts[y])).astype(np.float32)

    def count_steps(self, settings: SeriesSettings, prepared: SeriesPreparation, examples: Examples) -> int:
        return sum(len(one.values) for one in examples)

    def judge(self, model: Any, settings: SeriesSettings, prepared: SeriesPreparation, examples: Examples) -> Judged:
        truth = numbers(prepared, examples)
        shares = probabilities(model, prepared, examples)
        chosen = shares.argmax(1)
        classes = prepared.classes
        order = np.argsort(shares[np.arange(len(truth)), truth])  # what was thought least likely and is true
        rows = [
            {
                "place": one.where,
                "label": classes[t],
                "predicted": classes[c],
                "probability": round(float(p[c]), 4),
                "probability of the label": round(float(p[t]), 4),
            }
            for one, t, c, p in zip(examples, truth, chosen, shares, strict=True)
        ]
        findings: dict[str, Any] = {
            "confusion": {"labels": list(classes), "counts": confusion(truth, chosen, len(classes))}
        }
        findings["by_group"] = by_class(classes, truth, chosen)
        findings["worst"] = [rows[i] for i in order[:SHOWN] if truth[i] != chosen[i]]
        return Judged(figures(truth, chosen), spread(truth, chosen), findings, rows)

    def baselines(self, settings: SeriesSettings, prepared: SeriesPreparation, data: Data) -> list[Row]:
        truth, known = numbers(prepared, data.test), numbers(prepared, data.train)
        majority = np.full(len(truth), np.bincount(known).argmax())
        found: list[tuple[str, Numbers | None]] = [("majority class", majority)]
        told = [np.stack([series_baselines.summary(one.values) for one in part]) for part in (data.train, data.test)]
        for name, learn in BASELINES.items():
            found.append((name, learn(told[0], known, settings.seed).predict(told[1])))
        scaled = [[prepared.values(one) for one in part] for part in (data.train, data.test)]
        near = series_baselines.nearest(*scaled)
        equal = len({len(one) for part in scaled for one in part}) == 1
        name = "nearest neighbour, Euclidean" + ("" if equal else ", stretched to one length")
        found.append((name, None if near is None else known[near]))
        return [Row(name, None, figures(truth, said), spread(truth, said)) for name, said in found if said is not None]

    def read_examples(
        self, settings: SeriesSettings, prepared: SeriesPreparation, path: str
    ) -> tuple[list[Series], list[str]]:
        found = find_series(path, _as_learnt(settings, prepared), Faults(settings.on_error))
        if found.test is not None:
            return found.test, [f"of the data's own division the test part, {len(found.test)} series"]
        return found.train, [*found.notes, *_missing(prepared, found.train)]

    def read_inputs(self, settings: SeriesSettings, prepared: SeriesPreparation, path: str) -> Iterator[Series]:
        wanted = replace(_as_learnt(settings, prepared), label=None)
        faults = Faults(settings.on_error)
        if path != "-":
            yield from find_series(path, wanted, faults, labelled=False).train
            return
        with standard_input() as file:
            for one in find_series(str(file), wanted, faults, labelled=False).train:
                yield replace(one, where=one.where.removeprefix(f"{file.parent}{os.sep}"))

    def answers(
        self,
        model: Any,
        settings: SeriesSettings,
        prepared: SeriesPreparation,
        inputs: list[Any],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        for one, shares in zip(inputs, probabilities(model, prepared, inputs), strict=True):
            record: dict[str, Any] = {"place": one.where, "predicted": prepared.classes[int(shares.argmax())]}
            named = zip(prepared.classes, shares.tolist(), strict=True)
            yield record | {f"probability of {name}": round(share, 6) for name, share in named}

    def explain(
        self, model: Any, settings: SeriesSettings, prepared: SeriesPreparation, example: Series
    ) -> Explained | None:
        """Why a series got its class; None for one too long to show."""
        if len(example.values) > SHOWN_STEPS:
            return None
        x = torch.from_numpy(prepared.values(example))[None]
        with torch.no_grad():
            chosen = int(model(x)[0].argmax())
        steps = [f"{step} " for step in range(1, len(example.values) + 1)]
        return Explained(x, steps, prepared.classes[chosen], None, lambda y: y.log_softmax(-1)[:, chosen])

    def name_of(self, settings: SeriesSettings) -> str:
        return settings.network


BASELINES: dict[str, Callable[..., Any]] = {
    "logistic regression on summary statistics": series_baselines.logistic_regression,
    "gradient boosting on summary statistics": series_baselines.gradient_boosting,
}


def numbers(prepared: SeriesPreparation, examples: Sequence[Series]) -> Numbers:
    """The numbers of the examples' classes, `(examples,)`."""
    return np.array([prepared.number(one) for one in examples], np.int64)


def probabilities(model: Any, prepared: SeriesPreparation, examples: Sequence[Series]) -> NDArray[np.float64]:
    """Of each example the share of each class, `(examples, classes)`."""
    logits = model.predict([prepared.values(one) for one in examples], batch_size=128).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def figures(truth: Numbers, said: Numbers) -> dict[str, float]:
    """Accuracy, and F1 as a mean over the classes that are there or were said."""
    return {"accuracy": float((truth == said).mean()), "macro_f1": macro_f1(truth, said)}


def macro_f1(truth: Numbers, said: Numbers) -> float:
    """The mean F1 of the classes that occur in either."""
    size = int(max(truth.max(), said.max())) + 1
    hits = np.bincount(truth[truth == said], minlength=size)
    both = np.bincount(truth, minlength=size) + np.bincount(said, minlength=size)
    there = both > 0
    return float((2 * hits[there] / both[there]).mean())


def spread(truth: Numbers, said: Numbers) -> dict[str, tuple[float, float]]:
    """Intervals of `figures` by the bootstrap."""
    return intervals(lambda rows: figures(truth[rows], said[rows]), len(truth))


def confusion(truth: Numbers, said: Numbers, classes: int) -> list[list[int]]:
    """How often each true class (rows) was said to be each (columns)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, said), 1)
    return [[int(n) for n in row] for row in table]


def by_class(classes: Sequence[str], truth: Numbers, said: Numbers) -> dict[str, Any]:
    """A table of each class: how many there are, and how many of them were found."""
    rows = []
    for number, name in enumerate(classes):
        there = truth == number
        if there.any():
            rows.append([name, int(there.sum()), f"{100 * float((said[there] == number).mean()):.1f} %"])
    return {"title": "By class", "heads": ["class", "series", "found"], "rows": rows}


def _missing(prepared: SeriesPreparation, series: Sequence[Series]) -> list[str]:
    """What is told of values that are missing in a channel where none was in training."""
    channels = list(zip(prepared.channels, prepared.scales, strict=True))
    gone = {
        name: sum(int(np.isnan(one.values[:, i]).sum()) for one in series if one.values.shape[1] == len(channels))
        for i, (name, scale) in enumerate(channels)
        if not scale.missing
    }
    told = [f"{count:,} of {name!r}" for name, count in gone.items() if count]
    return [f"missing, as none was in training, and taken for the mean: {', '.join(told)}"] if told else []


def _table_channels(prepared: SeriesPreparation) -> tuple[str, ...]:
    """The columns the model was trained on; empty where series had no names for their channels."""
    numbered = tuple(f"channel {i}" for i in range(1, len(prepared.channels) + 1))
    return () if prepared.channels == numbered else prepared.channels


def _as_learnt(settings: SeriesSettings, prepared: SeriesPreparation) -> Wanted:
    """The columns of the table that the model was trained on; what was asked for, where that was no table."""
    channels = settings.channels or _table_channels(prepared)
    wanted = replace(settings.wanted, channels=channels, group=None)
    if prepared.roles is None:
        return wanted
    entity, time, label = prepared.roles
    return replace(wanted, series=entity, time=time, label=label)


def _looks_like_series(path: Path) -> str | None:
    from rondeau.data.tables.roles import find_roles, first_rows, guess_label, label_values, one_label_each
    from rondeau.errors import RondeauError

    try:
        table = first_rows(path)
        roles = None if table is None else find_roles(table)
    except RondeauError:
        return None
    if table is None or roles is None or roles.label is None:
        return None
    entity, label = roles.entity, roles.label
    if not one_label_each(table, entity, label):
        return None
    if guess_label(table) != label and roles.time is not None and table[roles.time].kind == "time":
        return None  # each has a kind, and goes on by the calendar: to be forecast
    if label_values(table, label) > max(20, label_values(table, entity) // 2):
        return None  # a number for each series
    return f"each {entity!r} has several rows and one {label!r}"
