"""A task that learns from examples: what each kind says of itself, and the way they all go.

Read and divide, prepare what is learnt from the training part alone, build, fit, judge beside baselines, tell.
"""

from __future__ import annotations

import importlib
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from rondeau.data.buckets import Buckets
from rondeau.data.prefetch import Prefetch
from rondeau.errors import CheckpointError, MissingExtraError
from rondeau.insight import Insight
from rondeau.insight.results import Metric, Results, Row
from rondeau.tasks.along import Keeper
from rondeau.tasks.look import Explained, Look, look_into
from rondeau.tasks.reproduce import reproduce
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Common
from rondeau.tasks.speed import Speed
from rondeau.tasks.task import S, Task, View, Work, settings_of
from rondeau.training import optimizers
from rondeau.training.callbacks import Callback, EarlyStopping
from rondeau.training.checkpoint import BackupAndRestore
from rondeau.training.data import Source, make_source
from rondeau.training.interrupt import StopOnInterrupt
from rondeau.training.optimizers import schedules
from rondeau.training.provenance import FORMAT, VERSION

Examples = Any  # a sequence of examples of the task's own type, by number; it may read them as they are asked for
PREDICTED_AT_ONCE = 256  # inputs

_MODULES = {
    "text": ("tokenizers", "seqeval", "sacrebleu", "sklearn"),
    "table": ("pandas", "pyarrow", "sklearn"),
    "audio": ("soundfile", "librosa", "jiwer", "sklearn"),
    "bio": ("Bio", "sklearn"),
    "midi": ("mido", "scipy"),
}


@dataclass
class Data:
    """What a task has read, divided without leakage.

    Attributes:
        name: for tables and reports; train, validation, test: examples of the task's own type, by number.
        sizes: how many of each kind of thing the parts hold: `{"documents": {"train": 80, "validation": 10, ...}}`.
        digest: tells these data from others; skipped: `Faults.to_json()`; notes: what the reader has decided, in words.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    sizes: dict[str, dict[str, int]]
    digest: str
    skipped: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Judged:
    """A model on examples: figures by metric, their intervals, entries for the report, and a record an example.

    `rows` is gone through once.
    """

    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    rows: Iterable[dict[str, Any]] = field(default_factory=list)


class Job(Task[S]):
    """Base of such tasks; a kind defines what is abstract here, and what it has beyond that.

    Attributes:
        metrics: what it is judged by; the first decides.
        monitor: the log whose best epoch's model is kept; monitor_higher: whether more is better.
    """

    metrics: ClassVar[tuple[Metric, ...]]
    monitor: ClassVar[str] = "val_loss"
    monitor_higher: ClassVar[bool] = False

    # what a kind says of itself

    @abstractmethod
    def read(self, settings: S) -> Data:
        """Read and divide. Raises `DataError` and `ArgumentError`."""

    @abstractmethod
    def prepare(self, settings: S, data: Data) -> Any:
        """What is learnt from the training part before the model is: vocabulary, scaler, labels; has `to_json()`."""

    @abstractmethod
    def load_prepared(self, data: dict[str, Any]) -> Any:
        """What `prepare` gave, from its JSON form."""

    @abstractmethod
    def build(self, settings: S, prepared: Any, data: Data | None) -> Any:
        """The model, untrained."""

    @abstractmethod
    def loss(self, settings: S, prepared: Any, data: Data) -> Any:
        """What `compile` takes."""

    def fit_metrics(self, settings: S, prepared: Any) -> list[Any]:
        """What is reported after each epoch beside the loss."""
        return []

    @abstractmethod
    def batches(self, settings: S, prepared: Any, examples: Examples, training: bool) -> Any:
        """What `fit` takes: a `Source`, or (x, y) or (x, y, weight) of arrays."""

    @abstractmethod
    def count_steps(self, settings: S, prepared: Any, examples: Examples) -> int:
        """The steps that all the training examples hold."""

    @abstractmethod
    def judge(self, model: Any, settings: S, prepared: Any, examples: Examples) -> Judged:
        """A model's figures on examples."""

    @abstractmethod
    def baselines(self, settings: S, prepared: Any, data: Data) -> list[Row]:
        """What knows less, on the same test part by the same metrics."""

    @abstractmethod
    def read_examples(self, settings: S, prepared: Any, path: str) -> tuple[Examples, list[str]]:
        """Other data with their answers, all of them, and notes."""

    @abstractmethod
    def read_inputs(self, settings: S, prepared: Any, path: str) -> Iterator[Any]:
        """Inputs without answers from a file, a folder or `-`, one after another."""

    @abstractmethod
    def answers(
        self, model: Any, settings: S, prepared: Any, inputs: list[Any], options: dict[str, Any]
    ) -> Iterable[dict[str, Any]]:
        """A record for each input, in JSON's types."""

    def answering(self, settings: S, prepared: Any, options: dict[str, Any]) -> tuple[S, Any]:
        """Settings and what was prepared as `predict` was asked for them; `read_inputs` is given them then."""
        return settings, prepared

    def settle(self, model: Any, settings: S, prepared: Any, data: Data) -> Any:
        """`prepared` with what is chosen on the validation part once the model is trained, such as a threshold."""
        return prepared

    def explain(self, model: Any, settings: S, prepared: Any, example: Any) -> Explained | None:
        """The model's answer to an example, for `rondeau inspect`; None where there is nothing to explain."""
        return None

    def name_of(self, settings: S) -> str:
        """The model's name in the table."""
        return f"{settings.cell}, {settings.layers} x {settings.units}"

    # the way they all go

    def begin(self, settings: S, out: Path, overwrite: bool = False) -> Work[S]:
        settings.check()
        require(self.extra)
        data = self.read(settings)
        prepared = self.prepare(settings, data)
        self._note_padding(settings, prepared, data)
        self.build(settings, prepared, data)  # what cannot be built is said before anything is written
        run = RunFolder.create(out, overwrite)
        described = {"format": FORMAT, "version": VERSION, "task": self.name}
        about = {"name": data.name, "digest": data.digest, "sizes": data.sizes, "skipped": data.skipped}
        about["notes"] = data.notes
        run.write_json(run.prepared, prepared.to_json())
        asked = {"settings": asdict(settings), "data": about, "reproduce": reproduce(settings, self.name)}
        run.write_json(run.config, {**described, **asked})
        return Work(run, settings, data, prepared)

    def reopen(self, run: RunFolder) -> Work[S]:
        require(self.extra)
        settings, prepared = self.opened(run)
        data = self.read(settings)
        if data.digest != run.read_json(run.config)["data"]["digest"]:
            raise CheckpointError(
                "the data are not those the run began with",
                where=settings.path or data.name,
                fix="Put the old data back, or begin a new run",
            )
        run.remove_leftovers()
        self._note_padding(settings, prepared, data)
        return Work(run, settings, data, prepared)

    def _note_padding(self, settings: S, prepared: Any, data: Data) -> None:
        batches = self.batches(settings, prepared, data.train, True)
        if isinstance(batches, Buckets):
            data.notes.append(f"rows of like length together: {batches.describe()}")

    def opened(self, run: RunFolder) -> tuple[S, Any]:
        """A run's settings and what it has prepared, without its data."""
        return settings_of(self.settings, run), self.load_prepared(run.read_json(run.prepared))

    def describe(self, work: Work[S]) -> list[str]:
        data: Data = work.data
        sizes = "; ".join(
            f"{kind}: " + ", ".join(f"{count:,} {part}" for part, count in counts.items())
            for kind, counts in data.sizes.items()
        )
        lines = [f"{data.name}: {self.title}; {sizes}", *data.notes]
        if data.skipped:
            kinds = "; ".join(f"{kind['count']:,} {what} ({kind['places'][0]})" for what, kind in data.skipped.items())
            lines.append(f"left out: {kinds}")
        return lines

    def untrained(self, work: Work[S]) -> tuple[Any, Source, Source]:
        """The model as the run's seed begins it, compiled, and what it learns from and is chosen on."""
        settings, prepared, data = work.settings, work.prepared, work.data
        torch.manual_seed(settings.seed)
        model = self.build(settings, prepared, data)
        train, validation = (
            as_source(model, self.batches(settings, prepared, part, training), settings, training)
            for part, training in ((data.train, True), (data.validation, False))
        )
        model.compile(
            self.optimizer(settings, train),
            self.loss(settings, prepared, data),
            metrics=self.fit_metrics(settings, prepared) or None,
            device=settings.device,
        )
        return model, train, validation

    def optimizer(self, settings: S, train: Source) -> Any:
        """Adam with clipped gradients; its rate falls to nearly zero along a cosine."""
        updates = max(1, (train.count() or 1) * settings.epochs)
        rate = schedules.CosineDecay(settings.learning_rate, updates, alpha=0.02)
        return optimizers.Adam(rate, global_clipnorm=settings.clipnorm)

    def fit(self, work: Work[S], view: View) -> bool:
        run, settings = work.run, work.settings
        model, train, validation = self.untrained(work)
        steps = self.count_steps(settings, work.prepared, work.data.train)
        batches = max(1, train.count() or 1)
        backup = BackupAndRestore(run.checkpoint, seconds=settings.checkpoint_seconds, delete_checkpoint=False)
        speed = Speed(lambda done: round(steps * done / batches), run)
        callbacks: list[Callback] = [Keeper(run, self.monitor, self.monitor_higher)]
        if settings.insight:
            callbacks.append(Insight(run.path, history=False))
        if settings.patience is not None:
            mode = "max" if self.monitor_higher else "min"
            callbacks.append(EarlyStopping(monitor=self.monitor, patience=settings.patience, mode=mode))
        callbacks += [speed, *view(max(1, round(steps / batches)), speed), StopOnInterrupt(), backup]
        model.fit(train, epochs=settings.epochs, validation_data=validation, callbacks=callbacks, verbose=0)
        return not backup.loop.interrupted

    def conclude(self, work: Work[S], view: View) -> Results:
        run, settings, data = work.run, work.settings, work.data
        model = placed(run.load_model(), settings.device)
        work.prepared = self.settle(model, settings, work.prepared, data)
        run.write_json(run.prepared, work.prepared.to_json())
        judged = self.judge(model, settings, work.prepared, data.test)
        own = Row(self.name_of(settings), model.count_params(), judged.scores, judged.intervals)
        results = Results(self.metrics, [*self.baselines(settings, work.prepared, data), own])
        run.write_json(run.results, results.to_json())
        run.write_json(run.findings, judged.findings)
        run.write_lines(run.predictions, judged.rows)
        if settings.insight:
            found = look_into(self, run, Look(), data.test)
            if found:
                run.write_json(run.inspected, found)
        return results

    def inspect(self, run: RunFolder, look: Look) -> dict[str, Any]:
        require(self.extra)
        return look_into(self, run, look)

    def evaluate(self, run: RunFolder, path: str, device: str) -> Results:
        require(self.extra)
        settings, prepared = self.opened(run)
        settings = replace(settings, device=device)
        examples, notes = self.read_examples(settings, prepared, path)
        model = placed(run.load_model(), device)
        judged = self.judge(model, settings, prepared, examples)
        own = Row(self.name_of(settings), model.count_params(), judged.scores, judged.intervals)
        return Results(self.metrics, [own], path, notes)

    def predict(self, run: RunFolder, path: str, device: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        options = self.asked(options)
        settings, prepared = self.opened(run)
        settings, prepared = self.answering(replace(settings, device=device), prepared, options)
        model = placed(run.load_model(), device)
        inputs = iter(self.read_inputs(settings, prepared, path))
        while some := list(itertools.islice(inputs, PREDICTED_AT_ONCE)):
            yield from self.answers(model, settings, prepared, some, options)


def as_source(model: Any, given: Any, settings: Common, training: bool) -> Source:
    """What `batches` gave, as a `Source`; rows that are read as they are asked for are read ahead."""
    if isinstance(given, Buckets):
        return Prefetch(given)
    if isinstance(given, Source):
        return given
    x, y, weight = (*given, None, None)[:3] if isinstance(given, tuple) else (given, None, None)
    inputs, outputs = model.input_count, len(model.output_names)
    size = settings.batch_size
    return make_source(x, y, weight, batch_size=size, shuffle=training, inputs=inputs, outputs=outputs)


def placed(model: Any, device: str) -> Any:
    """The model on a device, in `eval` mode."""
    from rondeau.training.trainer import resolve_device

    return model.to(resolve_device(device)).eval()


def require(extra: str | None) -> None:
    """Raise `MissingExtraError` where an extra that a task needs is not installed, before anything is read."""
    for module in _MODULES.get(extra or "", ()):
        try:
            importlib.import_module(module)
        except ImportError as error:
            what, fix = f"the task needs {module}", f"Install it: pip install 'rondeau[{extra}]'"
            raise MissingExtraError(what, fix=fix) from error


def all_examples(parts: Iterable[Examples]) -> Iterator[Any]:
    """Examples of all parts."""
    return itertools.chain.from_iterable(parts)
