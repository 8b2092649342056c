"""Which class a recording is of."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

from rondeau.data.audio.batches import AudioBatches, Frames
from rondeau.data.audio.features import Features
from rondeau.data.audio.find import COLUMNS, find_audio, has_paths, manifest_in
from rondeau.data.audio.index import AudioIndex
from rondeau.data.audio.read import SUFFIXES
from rondeau.data.faults import Faults
from rondeau.data.prefetch import Prefetch
from rondeau.data.tables.rows import TABLES, read_head
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.audio import baselines as simple
from rondeau.tasks.audio.divide import divide
from rondeau.tasks.audio.findings import findings_of
from rondeau.tasks.audio.inputs import Heard, heard_inputs
from rondeau.tasks.audio.network import audio_network
from rondeau.tasks.audio.prepared import Prepared, learn_hearing, usual_rate
from rondeau.tasks.audio.settings import AudioSettings
from rondeau.tasks.class_scores import ClassScores
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import Explained
from rondeau.training.losses import SparseCategoricalCrossentropy

_LISTED = 20  # classes that a message names
_LOOKED_AT = 400  # files of a folder
_SHOWN = 150  # frames of a recording that is explained
_EVALUATED_AT_ONCE = 64

Chances = NDArray[np.float64]


class AudioClassification(Job[AudioSettings]):
    """Recordings and their classes: words, commands, sounds."""

    name, title, settings, steps = "audio_classification", "classification of recordings", AudioSettings, "frames"
    demo = "spoken digits, of voices never heard"
    extra = "audio"
    metrics = (Metric("accuracy", percent=True), Metric("macro_f1"), Metric("auroc"), Metric("average_precision"))

    def guess(self, path: Path) -> str | None:
        if path.is_dir():
            manifest = manifest_in(path)
            if manifest is None:
                return _looks_like_classes(path)
            path = manifest
        elif suffix_of(path) not in TABLES or not has_paths(path):
            return None
        there = {str(name).lower() for name in read_head(path).columns}
        if there & set(COLUMNS["label"]) and not there & {*COLUMNS["text"], "start"}:
            return f"{path.name} lists sound files and their classes"
        return None

    def demo_settings(self) -> AudioSettings:
        return AudioSettings(epochs=12, units=32, filters=32)

    # data

    def read(self, settings: AudioSettings) -> Data:
        faults = Faults(settings.on_error)
        index, name = found_recordings(settings, faults), Path(settings.path or "made spoken digits").name
        _check_classes(index)
        parts, notes = divide(index, settings.group, settings.validation, settings.test, settings.seed, faults)
        train, validation, test = (index.take(rows) for rows in parts)
        seconds = {
            part: round(float(one.seconds.sum()))
            for part, one in zip(parts._fields, (train, validation, test), strict=False)
        }
        counts = Counter(index.labels)
        told = ", ".join(f"{count:,} {label}" for label, count in counts.most_common(10))
        more = f", ... ({len(counts)} classes)" if len(counts) > 10 else ""
        return Data(
            name=name,
            train=train,
            validation=validation,
            test=test,
            sizes={"recordings": {part: len(rows) for part, rows in parts._asdict().items()}, "seconds": seconds},
            digest=index.digest(),
            skipped=faults.to_json(),
            notes=[*index.notes, f"classes: {told}{more}", *notes],
        )

    def prepare(self, settings: AudioSettings, data: Data) -> Prepared:
        train = as_index(data.train)
        rate = settings.rate or usual_rate(train)
        made = Features(settings.features, rate, settings.bands, settings.window, settings.hop)
        labels = tuple(sorted({label for label in train.labels if label is not None}))
        if len(labels) < 2:
            raise DataError("the training part has one class only", expected="two or more", got=", ".join(labels))
        return Prepared(learn_hearing(train, made, settings.normalisation, settings.cache), labels)

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: AudioSettings, prepared: Prepared, data: Data | None) -> Any:
        s, width = settings, prepared.hearing.features.width
        front = s.filters, s.kernel, s.stride
        return audio_network(width, len(prepared.labels), s.cell, s.units, s.layers, *front, s.dropout)

    def loss(self, settings: AudioSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: AudioSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(self, settings: AudioSettings, prepared: Prepared, examples: Any, training: bool) -> Prefetch:
        index = as_index(examples)
        y, _ = prepared.numbers(index)
        if (y >= len(prepared.labels)).any():  # of a class that the training part does not have
            index = index.take(np.flatnonzero(y < len(prepared.labels)))
            y = prepared.numbers(index)[0]
        frames = frames_of(settings, prepared, index, training)
        return Prefetch(
            AudioBatches(frames, Answers(y), settings.batch_size, training=training), workers=settings.workers
        )

    def count_steps(self, settings: AudioSettings, prepared: Prepared, examples: Any) -> int:
        return int(Frames(as_index(examples), prepared.hearing.features).lengths().sum())

    def name_of(self, settings: AudioSettings) -> str:
        front = f", after two convolutions of {settings.filters}" if settings.filters else ""
        return f"{settings.cell} both ways, {settings.layers} x {settings.units}{front}"

    # answers

    def judge(self, model: Any, settings: AudioSettings, prepared: Prepared, examples: Any) -> Judged:
        index = as_index(examples)
        found = chances(model, Frames(index, prepared.hearing.features, prepared.hearing.finish, cache=settings.cache))
        scores = _scores(prepared, index, found)
        rows = [
            {"path": index.where(row), "label": index.labels[row], "speaker": index.speakers[row], **record}
            for row, record in enumerate(_records(prepared, found))
        ]
        return Judged(scores.figures(), scores.intervals(voices(index)), findings_of(scores, index), rows)

    def baselines(self, settings: AudioSettings, prepared: Prepared, data: Data) -> list[Row]:
        train, test = as_index(data.train), as_index(data.test)
        y, groups, count = prepared.numbers(train)[0], voices(test), len(prepared.labels)
        found: list[tuple[str, Chances]] = []
        share = np.bincount(y, minlength=count) / len(y)
        found.append(("majority class", np.tile(share, (len(test), 1))))
        features = prepared.hearing.features
        told = [
            np.stack([simple.moments(one) for one in Frames(part, features, cache=settings.cache)])
            for part in (train, test)
        ]
        fitted = simple.logistic_regression(told[0], y, settings.seed)
        given = np.zeros((len(test), count))
        given[:, fitted.classes_] = fitted.predict_proba(told[1])
        found.append(("mean features + logistic regression", given))
        near, templates = simple.nearest_recordings(train, y, test, features, settings.seed)
        fewer = f" of {templates:,} templates" if templates < len(train) else ""
        found.append((f"nearest recording{fewer} by time warping", np.eye(count)[near]))
        rows = []
        for name, one in found:
            scores = _scores(prepared, test, one)
            rows.append(Row(name, None, scores.figures(), scores.intervals(groups)))
        return rows

    def read_examples(self, settings: AudioSettings, prepared: Prepared, path: str) -> tuple[AudioIndex, list[str]]:
        faults = Faults(settings.on_error)
        index = find_audio(path, settings.pattern, faults, settings.listen, columns_of(settings))
        index = _labelled(index, faults)
        wrong = np.flatnonzero(prepared.numbers(index)[0] >= len(prepared.labels))
        notes = list(index.notes)
        unseen = sorted({str(index.labels[int(row)]) for row in wrong})
        if len(wrong) == len(index):
            expected, got = ", ".join(prepared.labels[:_LISTED]), ", ".join(unseen[:_LISTED])
            raise DataError("the run knows none of these classes", expected=expected, got=got, where=path)
        if len(wrong):
            shown = ", ".join(unseen[:5])
            notes.append(f"{len(wrong):,} recordings are of classes never learnt ({shown}): they count as errors")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return index, notes

    def read_inputs(self, settings: AudioSettings, prepared: Prepared, path: str) -> Iterator[Heard]:
        return heard_inputs(path, prepared.hearing.features, Faults(settings.on_error))

    def answers(
        self,
        model: Any,
        settings: AudioSettings,
        prepared: Prepared,
        inputs: list[Heard],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        x = [prepared.hearing.finish(one.frames) for one in inputs]
        found = _shares(model.predict(x, batch_size=_EVALUATED_AT_ONCE))
        for one, record in zip(inputs, _records(prepared, found), strict=True):
            yield {"path": one.where, "seconds": round(one.seconds, 3), **record}

    def explain(self, model: Any, settings: AudioSettings, prepared: Prepared, example: Any) -> Explained | None:
        """Which frames an answer rests on; of a long recording the loudest second and a half is asked."""
        hearing = prepared.hearing
        raw = example.frames if isinstance(example, Heard) else Frames([example], hearing.features).raw(0)
        first = _loudest(raw, _SHOWN)
        x = torch.from_numpy(np.ascontiguousarray(hearing.finish(raw)[first : first + _SHOWN]))[None]
        with torch.no_grad():
            chosen = int(model(x.to(next(model.parameters()).device))[0].argmax())
        steps = [f"{hearing.features.seconds_of(first + i):.2f} " for i in range(x.shape[1])]
        return Explained(x, steps, prepared.labels[chosen], None, lambda y: log_softmax(y, -1)[:, chosen])


class Answers:
    """The classes of rows."""

    def __init__(self, y: NDArray[np.int64]) -> None:
        self.y = torch.from_numpy(y)

    def __call__(self, rows: Tensor) -> Tensor:
        return self.y[rows]


def found_recordings(settings: AudioSettings, faults: Faults) -> AudioIndex:
    """The labelled recordings that are asked for; without a path those that the package makes."""
    if settings.path is None:
        from rondeau.data.made.digits import made_digits

        return made_digits(seed=settings.seed)
    index = find_audio(settings.path, settings.pattern, faults, settings.listen, columns_of(settings))
    return _labelled(index, faults)


def columns_of(settings: AudioSettings) -> dict[str, str]:
    """The manifest's columns that were asked for by name."""
    return {} if settings.group in (None, "none", "speaker") else {"speaker": str(settings.group)}


def _labelled(index: AudioIndex, faults: Faults) -> AudioIndex:
    """Only recordings with a class."""
    numbers = index.labels.numbers
    if (numbers < 0).all():
        fix = "Put them in folders by class, name their pattern (--pattern), or give a manifest with a column `label`"
        raise DataError("no recording has a class", got=f"{len(index):,} recordings", where=index.root, fix=fix)
    if (numbers >= 0).all():
        return index
    for row in np.flatnonzero(numbers < 0).tolist():
        faults.add("a recording has no class", where=index.where(row))
    return index.take(np.flatnonzero(numbers >= 0))


def _check_classes(index: AudioIndex) -> None:
    classes = set(index.labels)
    if len(classes) == 1:
        got = f"{len(index):,} recordings of {next(iter(classes))!r}"
        raise DataError("there is one class only: nothing can be learnt", expected="two or more", got=got)
    if len(classes) > max(20, len(index) // 2):
        got = f"{len(classes):,} classes in {len(index):,} recordings"
        fix = "Say how files are named: --pattern {label}_{speaker}_{take}.wav"
        raise DataError("nearly every recording has a class of its own", got=got, fix=fix)


def frames_of(settings: AudioSettings, prepared: Any, index: AudioIndex, training: bool) -> Frames:
    """What the model reads of recordings; altered in training."""
    hearing = prepared.hearing
    augment = settings.alterations if training else None
    return Frames(index, hearing.features, hearing.finish, augment, settings.cache)


def voices(index: AudioIndex) -> list[Any] | None:
    """What bootstrap draws as a whole: speakers where there are several, else None for recordings by themselves."""
    known = [speaker if speaker is not None else row for row, speaker in enumerate(index.speakers)]
    return known if any(index.speakers.numbers >= 0) and len(set(known)) > 1 else None


def chances(model: Any, frames: Frames) -> Chances:
    """Of each recording the probability of each class, `(recordings, classes)`."""
    parts = []
    for begin in range(0, len(frames), 256):
        rows = [frames[i] for i in range(begin, min(begin + 256, len(frames)))]
        parts.append(_shares(model.predict(rows, batch_size=_EVALUATED_AT_ONCE)))
    return np.concatenate(parts)


def _shares(logits: Any) -> Chances:
    given = np.asarray(logits, np.float64)
    shares = np.exp(given - given.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def _scores(prepared: Prepared, index: AudioIndex, found: Chances) -> ClassScores:
    y, names = prepared.numbers(index)
    return ClassScores(y, found, names, prepared.positive)


def _records(prepared: Prepared, found: Chances) -> Iterator[dict[str, Any]]:
    for row in found:
        best = int(row.argmax())
        order = np.argsort(-row, kind="stable")[:_LISTED]
        shares = {prepared.labels[i]: round(float(row[i]), 6) for i in order}
        yield {"predicted": prepared.labels[best], "probability": round(float(row[best]), 6), "probabilities": shares}


def as_index(examples: Any) -> AudioIndex:
    """Examples of this task."""
    if not isinstance(examples, AudioIndex):
        raise ArgumentError("examples of another task", expected="an AudioIndex", got=type(examples).__name__)
    return examples


def _loudest(frames: NDArray[Any], count: int) -> int:
    """Where the loudest run of so many frames begins."""
    if len(frames) <= count:
        return 0
    loud = np.concatenate([[0.0], frames.mean(1, dtype=np.float64).cumsum()])
    return int((loud[count:] - loud[:-count]).argmax())


def _looks_like_classes(path: Path) -> str | None:
    names: list[Any] = []
    for folder, folders, files in itertools.islice(os.walk(path), _LOOKED_AT):
        folders.sort()
        inside = os.path.relpath(folder, path)
        names += [(inside, name) for name in files[:_LOOKED_AT] if os.path.splitext(name)[1].lower() in SUFFIXES]
        if len(names) >= _LOOKED_AT and len({one for one, _ in names}) > 1:
            break
    if not names:
        return None
    classes = sorted({folder.split(os.sep)[-1] for folder, _ in names if folder != "."})
    if len(classes) > 1:
        return f"it holds folders of sound files: {', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''}"
    return f"it holds sound files: {names[0][1]}, ..."
