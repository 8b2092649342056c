"""The task of tagging frames: what is heard when, such as whether somebody speaks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

from rondeau.data.audio.augment import Augment
from rondeau.data.audio.batches import AudioBatches, Frames
from rondeau.data.audio.features import Features
from rondeau.data.audio.find import COLUMNS, has_paths, manifest_in
from rondeau.data.audio.tagged import Tagged, find_tagged, runs
from rondeau.data.faults import Faults
from rondeau.data.prefetch import Prefetch
from rondeau.data.tables.rows import TABLES, read_head
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import ArgumentError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.sequence import Ragged
from rondeau.tasks.audio.divide import divide
from rondeau.tasks.audio.inputs import Heard, heard_inputs
from rondeau.tasks.audio.network import audio_network
from rondeau.tasks.audio.prepared import NORMALISATIONS, Prepared, learn_hearing, usual_rate
from rondeau.tasks.audio.settings import AudioSettings
from rondeau.tasks.audio.task import columns_of, voices
from rondeau.tasks.frames.energy import best_threshold, energy
from rondeau.tasks.frames.scores import FrameScores
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import Explained
from rondeau.tasks.settings import option
from rondeau.training.losses import SparseCategoricalCrossentropy

_SHOWN = 150  # frames of a recording that is explained
_WORST = 12
_AT_ONCE = 16

AUGMENTS: dict[str, Augment] = {
    "none": Augment(),
    "light": Augment(gain=6.0, band_masks=1, band_mask=0.15, tilt=0.2),
    "strong": Augment(noise=0.5, gain=10.0, warp=0.1, tilt=0.5, band_masks=2, band_mask=0.15),
}
"""What leaves each frame where it is."""


@dataclass(frozen=True)
class FrameSettings(AudioSettings):
    """What the tagging of frames is asked."""

    rest: str = option("rest", "What frames in no interval are called.")
    normalise: str | None = option("level", "What each recording loses by itself.", NORMALISATIONS)
    units: int = option(32, "Units of a recurrent layer, in each direction.")
    filters: int = option(32, "Filters of the two convolutions in front; 0: none.")
    batch_size: int = option(8, "Recordings of a batch.")
    epochs: int = option(15, "Times all of the training part is read, at most.")


class FrameTagging(Job[FrameSettings]):
    """A label for each frame of a recording."""

    name, title, settings, steps = "frame_tagging", "tagging of frames", FrameSettings, "frames"
    demo = "when somebody speaks, in silence and noise"
    extra = "audio"
    metrics = (Metric("frame_f1", percent=True), Metric("accuracy", percent=True), Metric("auroc"))

    def guess(self, path: Path) -> str | None:
        file = manifest_in(path) if path.is_dir() else path
        if file is None or suffix_of(file) not in TABLES or not has_paths(file):
            return None
        there = {str(name).lower() for name in read_head(file).columns}
        fields = ("start", "end", "label")
        if all(there & set(COLUMNS[field]) for field in fields) and not there & set(COLUMNS["text"]):
            return f"{file.name} lists sound files and intervals with labels"
        return None

    def demo_settings(self) -> FrameSettings:
        return FrameSettings(epochs=8)

    # data

    def read(self, settings: FrameSettings) -> Data:
        faults = Faults(settings.on_error)
        if settings.path is None:
            from rondeau.data.made.activity import made_activity

            path, name = made_activity(seed=settings.seed), "made speech among noise"
        else:
            path, name = Path(settings.path), Path(settings.path).name
        tagged = find_tagged(path, faults, columns_of(settings))
        if not len(tagged.labels):
            raise DataError("no interval is labelled: nothing can be learnt", where=path)
        group = settings.group
        parts, notes = divide(tagged.index, group, settings.validation, settings.test, settings.seed, faults)
        train, validation, test = (tagged.take(rows) for rows in parts)
        lengths = zip(parts._fields, (train, validation, test), strict=True)
        counts = Counter(tagged.labels).most_common(10)
        told = ", ".join(f"{count:,} of {label!r}" for label, count in counts)
        return Data(
            name=name,
            train=train,
            validation=validation,
            test=test,
            sizes={
                "recordings": {part: len(rows) for part, rows in parts._asdict().items()},
                "seconds": {part: round(float(one.index.seconds.sum())) for part, one in lengths},
            },
            digest=_digest(tagged),
            skipped=faults.to_json(),
            notes=[*tagged.index.notes, f"intervals: {told}", *notes],
        )

    def prepare(self, settings: FrameSettings, data: Data) -> Prepared:
        train = as_tagged(data.train)
        rate = settings.rate or usual_rate(train.index)
        made = Features(settings.features, rate, settings.bands, settings.window, settings.hop)
        heard = sorted({label for label in train.labels if label is not None} - {settings.rest})
        if not heard:
            raise DataError("the training part has no labelled interval", fix="Give more recordings")
        hearing = learn_hearing(train.index, made, settings.normalisation, settings.cache)
        return Prepared(hearing, (settings.rest, *heard))

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: FrameSettings, prepared: Prepared, data: Data | None) -> Any:
        s, width = settings, prepared.hearing.features.width
        front = s.filters, s.kernel, 1
        return audio_network(width, len(prepared.labels), s.cell, s.units, s.layers, *front, s.dropout, each_frame=True)

    def loss(self, settings: FrameSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: FrameSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(self, settings: FrameSettings, prepared: Prepared, examples: Any, training: bool) -> Prefetch:
        tagged, augment = as_tagged(examples), AUGMENTS[settings.augment] if training else None
        hearing = prepared.hearing
        frames = Frames(tagged.index, hearing.features, hearing.finish, augment, settings.cache)
        answers = Labels(tagged, hearing.features, prepared.labels)
        source = AudioBatches(frames, answers, settings.batch_size, training=training)
        return Prefetch(source, workers=settings.workers)

    def count_steps(self, settings: FrameSettings, prepared: Prepared, examples: Any) -> int:
        return int(Frames(as_tagged(examples).index, prepared.hearing.features).lengths().sum())

    def name_of(self, settings: FrameSettings) -> str:
        front = f", after two convolutions of {settings.filters}" if settings.filters else ""
        return f"{settings.cell} both ways, {settings.layers} x {settings.units}{front}"

    # answers

    def judge(self, model: Any, settings: FrameSettings, prepared: Prepared, examples: Any) -> Judged:
        tagged, features = as_tagged(examples), prepared.hearing.features
        frames = Frames(tagged.index, features, prepared.hearing.finish, cache=settings.cache)
        found = list(shares_of(model, frames))
        truth = [tagged.frames(row, features, prepared.labels)[: len(found[row])] for row in range(len(tagged))]
        said = [one.argmax(1) for one in found]
        scores = FrameScores(truth, said, prepared.labels, _second(found, prepared))
        rows = [
            {"path": tagged.index.where(row), "right": round(share, 4), **_heard(features, prepared, found[row])}
            for row, share in enumerate(scores.by_recording().tolist())
        ]
        return Judged(scores.figures(), scores.intervals(voices(tagged.index)), _findings(scores, tagged), rows)

    def baselines(self, settings: FrameSettings, prepared: Prepared, data: Data) -> list[Row]:
        train, test, features = as_tagged(data.train), as_tagged(data.test), prepared.hearing.features
        truth = [[part.frames(row, features, prepared.labels) for row in range(len(part))] for part in (train, test)]
        most = int(np.bincount(np.concatenate(truth[0]), minlength=len(prepared.labels)).argmax())
        groups = voices(test.index)
        plain = FrameScores(truth[1], [np.full(len(one), most) for one in truth[1]], prepared.labels)
        rows = [Row("most frequent label", None, plain.figures(), plain.intervals(groups))]
        if len(prepared.labels) != 2 or settings.features != "log_mel":
            return rows
        raw = [list(Frames(part.index, features, cache=settings.cache)) for part in (train, test)]
        for name, above in (("energy threshold", False), ("energy threshold above the background", True)):
            energies = [[energy(one, above) for one in part] for part in raw]
            least = best_threshold(energies[0], truth[0])
            said = [(one >= least).astype(np.int64) for one in energies[1]]
            scores = FrameScores(truth[1], said, prepared.labels, energies[1])
            rows.append(Row(name, 1, scores.figures(), scores.intervals(groups)))
        return rows

    def read_examples(self, settings: FrameSettings, prepared: Prepared, path: str) -> tuple[Tagged, list[str]]:
        faults = Faults(settings.on_error)
        tagged = find_tagged(path, faults, columns_of(settings))
        notes = list(tagged.index.notes)
        unseen = sorted({label for label in tagged.labels if label not in prepared.labels and label is not None})
        if unseen:
            notes.append(f"labels that were never learnt, each frame counted as wrong: {', '.join(unseen[:5])}")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return tagged, notes

    def read_inputs(self, settings: FrameSettings, prepared: Prepared, path: str) -> Iterator[Heard]:
        return heard_inputs(path, prepared.hearing.features, Faults(settings.on_error))

    def answers(
        self,
        model: Any,
        settings: FrameSettings,
        prepared: Prepared,
        inputs: list[Heard],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        x = [prepared.hearing.finish(one.frames) for one in inputs]
        for one, found in zip(inputs, _shares(model, x), strict=True):
            heard = _heard(prepared.hearing.features, prepared, found)
            yield {"path": one.where, "seconds": round(one.seconds, 3), **heard}

    def explain(self, model: Any, settings: FrameSettings, prepared: Prepared, example: Any) -> Explained | None:
        """Why the frame the model is least sure of got its label, from the frames around it."""
        hearing = prepared.hearing
        raw = example.frames if isinstance(example, Heard) else Frames([example], hearing.features).raw(0)
        whole = hearing.finish(raw)
        (found,) = _shares(model, [whole])
        at = int(found.max(1).argmin())
        first = max(min(at - _SHOWN // 2, len(whole) - _SHOWN), 0)
        x = torch.from_numpy(np.ascontiguousarray(whole[first : first + _SHOWN]))[None]
        place, label = at - first, int(found[at].argmax())
        steps = [f"{hearing.features.seconds_of(first + i):.2f} " for i in range(x.shape[1])]
        answer = f"{hearing.features.seconds_of(at):.2f} s: {prepared.labels[label]}"
        return Explained(x, steps, answer, place, lambda y: log_softmax(y, -1)[:, place, label])


class Labels:
    """The labels of the frames of rows, as `Ragged`."""

    def __init__(self, tagged: Tagged, features: Features, labels: tuple[str, ...]) -> None:
        self.tagged, self.features, self.labels = tagged, features, labels

    def __call__(self, rows: Tensor) -> Ragged:
        found = [self.tagged.frames(row, self.features, self.labels) for row in rows.tolist()]
        # a label that the training part does not have teaches nothing of the others
        return Ragged.from_rows([np.where(one < len(self.labels), one, 0) for one in found])


def as_tagged(examples: Any) -> Tagged:
    """Examples of this task."""
    if not isinstance(examples, Tagged):
        raise ArgumentError("examples of another task", expected="Tagged", got=type(examples).__name__)
    return examples


def shares_of(model: Any, frames: Frames) -> Iterator[NDArray[np.float64]]:
    """Of each recording the probability of each label at each frame, `(frames, labels)`."""
    for begin in range(0, len(frames), _AT_ONCE):
        yield from _shares(model, [frames[i] for i in range(begin, min(begin + _AT_ONCE, len(frames)))])


def _shares(model: Any, x: Sequence[Any]) -> Iterator[NDArray[np.float64]]:
    for logits in model.predict(list(x), batch_size=_AT_ONCE):
        given = np.asarray(logits, np.float64)
        shares = np.exp(given - given.max(1, keepdims=True))
        yield shares / shares.sum(1, keepdims=True)


def _second(found: Sequence[NDArray[np.float64]], prepared: Prepared) -> list[NDArray[np.float64]] | None:
    return [one[:, 1] for one in found] if len(prepared.labels) == 2 else None


def _heard(features: Features, prepared: Prepared, found: NDArray[np.float64]) -> dict[str, Any]:
    """The intervals in which something is heard, each with the mean probability of its label."""
    half = features.step / features.rate / 2
    intervals = [
        {
            "start": round(max(features.seconds_of(begin) - half, 0.0), 3),
            "end": round(features.seconds_of(end - 1) + half, 3),
            "label": prepared.labels[label],
            "probability": round(float(found[begin:end, label].mean()), 4),
        }
        for begin, end, label in runs(found.argmax(1))
        if label
    ]
    return {"intervals": intervals}


def _findings(scores: FrameScores, tagged: Tagged) -> dict[str, Any]:
    heads = ["label", "frames", "precision", "recall", "F1"]
    rows = [
        [name, count, *(None if x is None else round(x, 4) for x in rest)] for name, count, *rest in scores.by_label()
    ]
    shares = scores.by_recording()
    worst = np.argsort(shares, kind="stable")[:_WORST].tolist()
    found: dict[str, Any] = {
        "confusion": {"labels": scores.labels, "counts": scores.confusion()},
        "by_group": [{"title": "by label", "heads": heads, "rows": rows}],
        "worst": [{"path": tagged.index.where(row), "right": round(float(shares[row]), 4)} for row in worst],
    }
    if scores.ranking is not None:
        found["curves"] = {**scores.ranking.curves(), "positive": scores.labels[1], "threshold": 0.5}
    return found


def _digest(tagged: Tagged) -> str:
    found = hashlib.blake2b(tagged.index.digest().encode(), digest_size=16)
    for row in range(len(tagged)):
        found.update(repr(tagged.intervals(row)).encode("utf-8", "surrogatepass"))
    return found.hexdigest()
