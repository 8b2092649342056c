"""Which number a whole series has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rondeau.data.faults import Faults
from rondeau.data.series.ts import Series, has_targets, ts_files
from rondeau.data.standard_input import standard_input
from rondeau.insight.results import Metric, Row
from rondeau.tasks.job import Data, Examples, Job, Judged
from rondeau.tasks.series import baselines as series_baselines
from rondeau.tasks.series.model import series_model
from rondeau.tasks.series.reading import Found, digest_of, divide, find_series
from rondeau.tasks.series.targets import (
    Floats,
    TargetPreparation,
    by_size,
    figures,
    margin,
    spread,
    targets,
    with_targets,
)
from rondeau.tasks.series.task import SHOWN, SeriesData, SeriesShape
from rondeau.tasks.settings import option
from rondeau.training.losses import Huber, MeanSquaredError


@dataclass(frozen=True)
class SeriesRegressionSettings(SeriesShape):
    """What series regression can be asked."""

    error: str = option("square", "What is made small in training; huber minds outliers less.", ("square", "huber"))


class SeriesRegression(Job[SeriesRegressionSettings]):
    """Series of numbers, each with a number: `.ts` files with targets, or a table with a row a step."""

    name: ClassVar[str] = "series_regression"
    title: ClassVar[str] = "series regression"
    demo: ClassVar[str] = "how far apart two pulses are"
    settings = SeriesRegressionSettings
    extra: ClassVar[str | None] = "table"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("rmse", higher=False),
        Metric("mae", higher=False),
        Metric("r2"),
        Metric("coverage_80", percent=True),
    )

    def guess(self, path: Path) -> str | None:
        files = ts_files(path)
        if files:
            return f"{files[0].name} is a .ts file of series with targets" if has_targets(files[0]) else None
        return _looks_like_targets(path)

    def demo_settings(self) -> SeriesRegressionSettings:
        return replace(SeriesRegressionSettings(), test=0.2, epochs=15)

    def read(self, settings: SeriesRegressionSettings) -> Data:
        faults = Faults(settings.on_error)
        found = _found(settings, settings.path, faults)
        parts = divide(found, settings.validation, settings.test, settings.seed, faults)
        names = ("train", "validation", "test")
        sizes = {"series": dict(zip(names, map(len, parts), strict=True))}
        sizes["steps"] = {name: sum(len(s.values) for s in part) for name, part in zip(names, parts, strict=True)}
        about = faults.to_json(), found.notes, found.channels
        return SeriesData(found.name, *parts, sizes, digest_of(parts), *about)

    def prepare(self, settings: SeriesRegressionSettings, data: Data) -> TargetPreparation:
        return TargetPreparation.fit(data.train, data.channels if isinstance(data, SeriesData) else None)

    def load_prepared(self, data: dict[str, Any]) -> TargetPreparation:
        return TargetPreparation.from_json(data)

    def build(self, settings: SeriesRegressionSettings, prepared: TargetPreparation, data: Data | None) -> Any:
        s = settings
        shape = (sum(scale.width for scale in prepared.scales), 1, s.cell, s.units, s.layers, s.dropout)
        return series_model(*shape, s.filters, s.kernel, s.stride, s.bidirectional)

    def loss(self, settings: SeriesRegressionSettings, prepared: TargetPreparation, data: Data) -> Any:
        return MeanSquaredError() if settings.error == "square" else Huber()

    def batches(
        self, settings: SeriesRegressionSettings, prepared: TargetPreparation, examples: Examples, training: bool
    ) -> tuple[Any, ...]:
        scaled = (targets(examples) - prepared.mean) / prepared.deviation
        return [prepared.values(one) for one in examples], scaled[:, None].astype(np.float32)

    def count_steps(self, settings: SeriesRegressionSettings, prepared: TargetPreparation, examples: Examples) -> int:
        return sum(len(one.values) for one in examples)

    def settle(
        self, model: Any, settings: SeriesRegressionSettings, prepared: TargetPreparation, data: Data
    ) -> TargetPreparation:
        """With the margin about an answer within which the validation part's targets lie four times in five."""
        return replace(prepared, margin=margin(targets(data.validation), said(model, prepared, data.validation)))

    def judge(
        self, model: Any, settings: SeriesRegressionSettings, prepared: TargetPreparation, examples: Examples
    ) -> Judged:
        truth, answers = targets(examples), said(model, prepared, examples)
        rows = [
            {"place": one.where, "target": t, "predicted": _short(a), "too large by": _short(a - t)}
            for one, t, a in zip(examples, truth.tolist(), answers.tolist(), strict=True)
        ]
        order = np.argsort(-np.abs(truth - answers), kind="stable")
        findings = {"by_group": by_size(truth, answers), "worst": [rows[i] for i in order[:SHOWN]]}
        told = (truth, answers, prepared.margin)
        return Judged(figures(*told), spread(*told), findings, rows)

    def baselines(self, settings: SeriesRegressionSettings, prepared: TargetPreparation, data: Data) -> list[Row]:
        known, truth = targets(data.train), targets(data.test)
        found: list[tuple[str, Floats]] = [("mean", np.full(len(truth), known.mean()))]
        told = [np.stack([series_baselines.summary(one.values) for one in part]) for part in (data.train, data.test)]
        for name, learn in BASELINES.items():
            found.append((name, learn(told[0], known, settings.seed).predict(told[1])))
        near = series_baselines.nearest(*([prepared.values(one) for one in part] for part in (data.train, data.test)))
        if near is not None:
            found.append(("nearest neighbour, Euclidean", known[near]))
        return [Row(name, None, figures(truth, answers), spread(truth, answers)) for name, answers in found]

    def read_examples(
        self, settings: SeriesRegressionSettings, prepared: TargetPreparation, path: str
    ) -> tuple[list[Series], list[str]]:
        faults = Faults(settings.on_error)
        found = _found(settings, path, faults)
        notes = [f"left out: {faults.describe()}"] if faults.total else []
        if found.test is not None:
            return found.test, [f"of the data's own division the test part, {len(found.test)} series", *notes]
        return found.train, [*found.notes, *notes]

    def read_inputs(
        self, settings: SeriesRegressionSettings, prepared: TargetPreparation, path: str
    ) -> Iterator[Series]:
        numbered = tuple(f"channel {i}" for i in range(1, len(prepared.channels) + 1))
        own = () if prepared.channels == numbered else prepared.channels
        wanted = replace(settings.wanted, channels=settings.channels or own, group=None)
        with standard_input() if path == "-" else nullcontext(Path(path)) as file:
            yield from find_series(str(file), wanted, Faults(settings.on_error), labelled=False).train

    def answers(
        self,
        model: Any,
        settings: SeriesRegressionSettings,
        prepared: TargetPreparation,
        inputs: list[Any],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        for one, answer in zip(inputs, said(model, prepared, inputs).tolist(), strict=True):
            ends = {"low_80": _short(answer - prepared.margin), "high_80": _short(answer + prepared.margin)}
            yield {"place": one.where, "predicted": _short(answer), **ends}

    def name_of(self, settings: SeriesRegressionSettings) -> str:
        return settings.network


BASELINES: dict[str, Callable[..., Any]] = {
    "ridge regression on summary statistics": series_baselines.ridge_regression,
    "gradient boosting on summary statistics": series_baselines.gradient_boosting_regression,
}


def said(model: Any, prepared: TargetPreparation, examples: Examples) -> Floats:
    """The answers to examples, `(examples,)`, in the target's unit."""
    outputs = model.predict([prepared.values(one) for one in examples], batch_size=128)
    return np.asarray(outputs, np.float64)[:, 0] * prepared.deviation + prepared.mean


def _found(settings: SeriesRegressionSettings, path: str | None, faults: Faults) -> Found:
    found = find_series(path, settings.wanted, faults, settings.seed, targets=True)
    held = None if found.test is None else with_targets(found.test, faults)[0]
    train, groups = with_targets(found.train, faults, found.groups)
    return replace(found, train=train, test=held, groups=groups, classes=None)


def _short(value: float) -> float:
    return float(f"{value:.7g}")


def _looks_like_targets(path: Path) -> str | None:
    from rondeau.data.tables.roles import first_rows, guess_entity, guess_label, label_values, one_label_each
    from rondeau.errors import RondeauError

    try:
        table = first_rows(path)
    except RondeauError:
        return None
    label = None if table is None else guess_label(table)
    entity = None if table is None or label is None else guess_entity(table, {label})
    if table is None or label is None or entity is None or not one_label_each(table, entity, label):
        return None
    if table[label].kind != "number" or label_values(table, label) <= max(20, label_values(table, entity) // 2):
        return None  # classes
    return f"each {entity!r} has several rows and one {label!r}, a number"
