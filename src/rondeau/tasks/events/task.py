"""Which events are the ones looked for, such as frauds, each judged by all of its entity's events before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import logsigmoid

from rondeau.data.faults import Faults
from rondeau.data.prefetch import Prefetch
from rondeau.data.standard_input import standard_input
from rondeau.data.tables.events import Events
from rondeau.errors import ArgumentError, CheckpointError, DataError, RondeauError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.events.baselines import MOST_ROWS, baseline_scores, chosen
from rondeau.tasks.events.model import event_model, event_scores, parts_of
from rondeau.tasks.events.pieces import EventBatches, History, Piece, Pieces
from rondeau.tasks.events.preparation import EventPreparation
from rondeau.tasks.events.reading import EventColumns, divide_events, find_events, read_like
from rondeau.tasks.job import Data, Examples, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.tasks.ranking import Ranking
from rondeau.tasks.settings import Settings, option
from rondeau.training.losses import BinaryCrossentropy

SHOWN = 20  # events in the report's table of mistakes
FEW = 200_000  # events, up to which a thousand draws of the bootstrap take seconds
RATE = "recall_at_rate"  # of false alarms, `false_positive_rate`


@dataclass(frozen=True)
class EventSettings(Settings):
    """What the judging of events can be asked."""

    units: int = option(64, "Units of a recurrent layer.")
    dropout: float = option(0.2, "Rate before and after the recurrent layers.")
    epochs: int = option(40, "Times all of the training part is read, at most.")
    patience: int | None = option(10, "Stop after so many epochs without a better one.")
    learning_rate: float = option(5e-3, "Of Adam, at the start; it falls along a cosine.")
    entity: str | None = option(None, "Column of whom an event is about, such as the card.")
    time: str | None = option(None, "Column of when it was.")
    label: str | None = option(None, "Column of what is to be told, with two values.")
    positive: str | None = option(
        None, "The label's value that is looked for. Default: 1, true, fraud, ..., or the rarer."
    )
    encoding: str = option("utf-8", "Of CSV and JSON lines.")
    categories: tuple[str, ...] = option((), "Columns of categories. Default: recognised, with those of numbers.")
    numbers: tuple[str, ...] = option((), "Columns of numbers. Default: recognised, with those of categories.")
    leave_out: tuple[str, ...] = option((), "Columns that are not to be used.")
    split: str = option("entity", "What is held out: entities, the last events, or both.", ("entity", "time", "both"))
    false_positive_rate: float = option(0.01, "Share of false alarms at which the recall is told.")
    threshold: str = option(
        "f1", "Which threshold is chosen on validation data: the best F1, or that rate.", ("f1", "rate")
    )
    positive_weight: float | None = option(
        None, "How much an event that is looked for counts. Default: the root of how many others there are to one."
    )
    longest: int = option(400, "Events of a history that are read at once; a longer one is read in pieces.")

    def check(self) -> None:
        super().check()
        if not 0 < self.false_positive_rate < 1:
            raise ArgumentError("false_positive_rate", expected="between 0 and 1", got=self.false_positive_rate)
        if self.positive_weight is not None and not self.positive_weight > 0:
            raise ArgumentError("positive_weight", expected="above 0", got=self.positive_weight)
        if self.longest < 2:
            raise ArgumentError("longest", expected="2 or more", got=self.longest)
        if self.split == "time" and self.group is not None:
            fix = "With --split time all entities are in all parts; take --split both, or leave --group out"
            raise ArgumentError("group", got=self.group, fix=fix)


@dataclass
class EventData(Data):
    """Events in pieces, and the columns that they are from."""

    columns: EventColumns | None = None


@dataclass(frozen=True)
class EventsPrepared:
    """What a run keeps beside its model: columns, preprocessing, and the threshold, None before it is chosen."""

    columns: EventColumns
    features: EventPreparation
    threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        threshold = {"threshold": self.threshold}
        return {"columns": self.columns.to_json(), "features": self.features.to_json(), **threshold}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventsPrepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            threshold = data["threshold"]
            columns, features = EventColumns.from_json(data["columns"]), EventPreparation.from_json(data["features"])
            return cls(columns, features, None if threshold is None else float(threshold))
        except (KeyError, TypeError) as error:
            raise CheckpointError("the preparation of events is damaged", got=repr(error)) from error


class EventClassification(Job[EventSettings]):
    """Tables of events with an entity, a time, categories, amounts, and a label for each event."""

    name: ClassVar[str] = "events"
    title: ClassVar[str] = "events of entities"
    demo: ClassVar[str] = "frauds among made card payments"
    settings = EventSettings
    extra: ClassVar[str | None] = "table"
    steps: ClassVar[str] = "events"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("average_precision"),
        Metric("auroc"),
        Metric(RATE),
        Metric("f1"),
    )

    def guess(self, path: Path) -> str | None:
        from rondeau.data.tables.by_values import on_a_beat
        from rondeau.data.tables.coding import MISSING, tallies
        from rondeau.data.tables.roles import find_roles, first_rows, guess_label, label_values, one_label_each

        try:
            table = first_rows(path)
            roles = None if table is None else find_roles(table)
        except RondeauError:
            return None
        if table is None or roles is None or roles.time is None or roles.label is None:
            return None
        if label_values(table, roles.label) > 2 or one_label_each(table, roles.entity, roles.label):
            return None
        if guess_label(table) != roles.label and on_a_beat(table, roles.entity, roles.time):
            return None  # series with a switch among their columns
        values = " or ".join(sorted(set(tallies(table, roles.label)) - {MISSING}))
        again = f"each {roles.entity!r} comes again, at another {roles.time!r}"
        return f"a row is an event: {again}, and {roles.label!r} is told of each row ({values})"

    def demo_settings(self) -> EventSettings:
        return replace(EventSettings(), test=0.2)

    def read(self, settings: EventSettings) -> EventData:
        faults = Faults(settings.on_error)
        name, events, columns, notes = find_events(settings, faults)
        parts = divide_events(events, settings, faults)
        pieces = [Pieces(events, part) for part in parts.tables]
        names = ("train", "validation", "test")
        known, positive = zip(*(part.counts() for part in pieces), strict=True)
        counts = {"events": list(known), "positive": list(positive)}
        counts["entities"] = [len(np.unique(part.table[:, 0])) for part in pieces]
        for part, some, all_ in zip(names, positive, known, strict=True):
            if some in (0, all_):
                fix = "Hold out more, with --validation and --test, or divide otherwise, with --split"
                got = f"{some:,} of {all_:,} events"
                raise DataError(f"the {part} part has one class only", expected="both", got=got, fix=fix)
        sizes = {kind: dict(zip(names, values, strict=True)) for kind, values in counts.items()}
        train, validation, test = pieces
        said = [*notes, *events.notes, *parts.notes]
        if known[0] > MOST_ROWS:
            said.append(f"the baselines learn from {MOST_ROWS:,} events of the training part, evenly spread")
        return EventData(name, train, validation, test, sizes, parts.digest, faults.to_json(), said, columns)

    def prepare(self, settings: EventSettings, data: Data) -> EventsPrepared:
        pieces: Pieces = data.train
        known, positive = pieces.counts()
        weight = settings.positive_weight or float(np.sqrt((known - positive) / max(positive, 1)))
        columns: EventColumns = data.columns  # type: ignore[attr-defined]
        return EventsPrepared(columns, EventPreparation.fit(pieces.events, pieces.blocks(), weight))

    def load_prepared(self, data: dict[str, Any]) -> EventsPrepared:
        return EventsPrepared.from_json(data)

    def build(self, settings: EventSettings, prepared: EventsPrepared, data: Data | None) -> Any:
        s = settings
        return event_model(prepared.features, s.cell, s.units, s.layers, s.dropout)

    def loss(self, settings: EventSettings, prepared: EventsPrepared, data: Data) -> Any:
        return BinaryCrossentropy(from_logits=True, reduction="mean_with_sample_weight")

    def batches(self, settings: EventSettings, prepared: EventsPrepared, examples: Examples, training: bool) -> Any:
        return Prefetch(EventBatches(as_pieces(examples), prepared.features, settings.batch_size, shuffle=training))

    def count_steps(self, settings: EventSettings, prepared: EventsPrepared, examples: Examples) -> int:
        table = as_pieces(examples).table
        return int((table[:, 3] - table[:, 1]).sum())

    def settle(self, model: Any, settings: EventSettings, prepared: EventsPrepared, data: Data) -> EventsPrepared:
        ranking = self._ranking(model, prepared, as_pieces(data.validation))[0]
        return replace(prepared, threshold=chosen_threshold(ranking, settings))

    def judge(self, model: Any, settings: EventSettings, prepared: EventsPrepared, examples: Examples) -> Judged:
        pieces = as_pieces(examples)
        if pieces.events.labels is None:
            where = prepared.columns.roles.label
            raise DataError("the data have no labels to judge by", expected=f"the column {where!r}")
        ranking, truth, scores, rows = self._ranking(model, prepared, pieces)
        threshold = 0.5 if prepared.threshold is None else prepared.threshold
        rate, owners = settings.false_positive_rate, pieces.events.owners_of(rows)
        found = figures(ranking, truth, scores, threshold, rate)
        spread = spread_of(ranking, truth, scores, threshold, rate, owners)

        def records(own: Any = slice(None)) -> Iterator[dict[str, Any]]:
            told = self._records(prepared, pieces.events, rows[own], scores[own])
            return (record | {"label": int(t)} for record, t in zip(told, truth[own], strict=True))

        alarms = scores >= threshold
        counts = [[int((~alarms & ~truth).sum()), int((alarms & ~truth).sum())]]
        counts.append([int((~alarms & truth).sum()), int((alarms & truth).sum())])
        order = np.argsort(np.where(truth, scores, 1 - scores))[:SHOWN]
        findings = {
            "curves": {**ranking.curves(), "false_positive_rate": rate, "at": _point(counts)},
            "confusion": {"labels": ["other", prepared.columns.positive], "counts": counts},
            "worst": list(records(order[alarms[order] != truth[order]])),
        }
        return Judged(found, spread, findings, records())

    def baselines(self, settings: EventSettings, prepared: EventsPrepared, data: Data) -> list[Row]:
        parts = [as_pieces(part) for part in (data.train, data.validation, data.test)]
        events = parts[0].events
        found = []
        rows, held = parts[2].known(), chosen(parts[1])
        owners, truth = events.owners_of(rows), events.labels_of(rows) == 1
        for name, scores, said in baseline_scores(parts, prepared.features, settings.seed):
            threshold = chosen_threshold(Ranking(events.labels_of(held) == 1, scores), settings)
            ranking = Ranking(truth, said)
            told = (ranking, truth, said, threshold, settings.false_positive_rate)
            found.append(Row(name, None, figures(*told), spread_of(*told, owners)))
        return found

    def read_examples(self, settings: EventSettings, prepared: EventsPrepared, path: str) -> tuple[Pieces, list[str]]:
        events = read_like(prepared.columns, prepared.features, path, settings, labelled=True)
        return whole(events, settings.longest), events.notes

    def read_inputs(self, settings: EventSettings, prepared: EventsPrepared, path: str) -> Iterator[History]:
        with standard_input() if path == "-" else nullcontext(Path(path)) as file:
            events = read_like(prepared.columns, prepared.features, str(file), settings, labelled=False)
        yield from whole(events, settings.longest)

    def answers(
        self,
        model: Any,
        settings: EventSettings,
        prepared: EventsPrepared,
        inputs: list[Any],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        events: Events = inputs[0].events
        pieces = Pieces(events, np.array([one.piece for one in inputs], np.int64))
        scores = event_scores(model, prepared.features, pieces, settings.batch_size)
        yield from self._records(prepared, events, pieces.rows(), scores)

    def explain(
        self, model: Any, settings: EventSettings, prepared: EventsPrepared, example: History
    ) -> Explained | None:
        """Why the event of the highest score in a history got it; what came later is left out."""
        return _explained(model, prepared, example.events, example.piece)

    def _ranking(
        self, model: Any, prepared: EventsPrepared, pieces: Pieces
    ) -> tuple[Ranking, NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
        """Of the events that have a label: their ranking, which are positive, their scores and their rows."""
        scores, rows = event_scores(model, prepared.features, pieces, 64), pieces.rows()
        labels = pieces.events.labels_of(rows)
        known, truth = labels >= 0, labels == 1
        return Ranking(truth[known], scores[known]), truth[known], scores[known], rows[known]

    def _records(
        self, prepared: EventsPrepared, events: Events, rows: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> Iterator[dict[str, Any]]:
        threshold = 0.5 if prepared.threshold is None else prepared.threshold
        owners, roles = events.owners_of(rows), prepared.columns.roles
        for owner, row, score in zip(owners.tolist(), rows.tolist(), scores.tolist(), strict=True):
            events.looked(1, 1)
            yield {
                roles.entity: events.entities[owner],
                str(roles.time): time_word(events, row),
                "line": int(events.lines[row]),
                "score": round(float(score), 6),
                "alarm": bool(score >= threshold),
            }


def as_pieces(examples: Examples) -> Pieces:
    """The examples of this task, which are pieces of histories."""
    if not isinstance(examples, Pieces):
        raise DataError("these are no events", expected="pieces of histories", got=type(examples).__name__)
    return examples


def whole(events: Events, longest: int) -> Pieces:
    """All events, each to be judged."""
    from rondeau.tasks.events.pieces import pieces

    return Pieces(events, pieces(events, np.arange(len(events.entities)), -np.inf, np.inf, longest))


def chosen_threshold(ranking: Ranking, settings: EventSettings) -> float:
    """Where an alarm begins, by the validation part."""
    if settings.threshold == "rate":
        return min(ranking.threshold_at(settings.false_positive_rate), 1.0)
    return ranking.best_threshold()


def figures(
    ranking: Ranking,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    threshold: float,
    rate: float,
    drawn: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """All metrics of the rows drawn; F1 is that of the threshold."""
    found = ranking.figures(rate, drawn)
    alarms, real = (scores >= threshold, truth) if drawn is None else (scores[drawn] >= threshold, truth[drawn])
    hits = float((alarms & real).sum())
    told = {"f1": 2 * hits / max(float(alarms.sum() + real.sum()), 1.0)}
    areas = {"average_precision": found["average_precision"], "auroc": found["auroc"], RATE: found["recall"]}
    return areas | told


def spread_of(
    ranking: Ranking,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    threshold: float,
    rate: float,
    owners: NDArray[np.int64],
) -> dict[str, tuple[float, float]]:
    """Intervals of `figures`, by drawing whole entities."""
    draws = 1000 if len(truth) <= FEW else 200
    return intervals(lambda drawn: figures(ranking, truth, scores, threshold, rate, drawn), len(truth), owners, draws)


def time_word(events: Events, row: int) -> str | float:
    """When an event was, as its data wrote it or nearly so."""
    time = float(events.times[row])
    return str(np.datetime64(round(time * 1e6), "us").astype("datetime64[s]")) if events.dated else time


def _explained(model: Any, prepared: EventsPrepared, events: Events, piece: Piece) -> Explained:
    """The highest score of a piece, by the events of its entity up to then, the last `LONGEST` of them."""
    scores = event_scores(model, prepared.features, Pieces(events, np.array([piece], np.int64)), 1)
    end = piece.counted + int(scores.argmax()) + 1
    begin = max(piece.begin, end - LONGEST)
    cut = Pieces(events, np.array([(piece.entity, begin, begin, end)], np.int64))
    of_events, of_features = parts_of(model)
    with torch.no_grad():
        x = of_events(EventBatches(cut, prepared.features, 1, shuffle=False, targets=False).batch(np.zeros(1, int)).x)
        sign = 1.0 if float(of_features(x.values[None])[0, -1, 0]) > 0 else -1.0
    steps = [_event_word(events, row) for row in range(begin, end)]
    answer = f"{steps[-1].rstrip(' ·')}: {prepared.columns.positive if sign > 0 else 'other'}"
    return Explained(
        x.values[None], steps, answer, end - begin - 1, lambda y: logsigmoid(sign * y[:, -1, 0]), of_features
    )


def _event_word(events: Events, row: int) -> str:
    """An event in a few letters: its words and numbers."""
    words = [column.words[column.codes[row]] for column in events.categories.values()]
    return " ".join([*words, *(f"{values[row]:g}" for values in events.numbers.values())]) + " · "


def _point(counts: list[list[int]]) -> dict[str, float]:
    """The threshold's place in both curves."""
    (kept, false), (missed, hits) = counts
    return {
        "false_positive_rate": false / max(false + kept, 1),
        "recall": hits / max(hits + missed, 1),
        "precision": hits / max(hits + false, 1),
    }
