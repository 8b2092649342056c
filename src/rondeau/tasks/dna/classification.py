"""Which class a sequence of bases or amino acids is of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

from rondeau.data.buckets import Buckets
from rondeau.data.dna.alphabets import DNA
from rondeau.data.dna.files import from_standard_input, kind_of, read_records, sequence_files
from rondeau.data.dna.records import SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore
from rondeau.data.faults import Faults
from rondeau.data.made.genes import made_splice_sites
from rondeau.data.progress import progress
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.results import Row
from rondeau.tasks.class_scores import Chances, Ids
from rondeau.tasks.dna import baselines as known_less
from rondeau.tasks.dna.divide import divide
from rondeau.tasks.dna.examples import Sequences, inputs_of, outputs_of, steps_of
from rondeau.tasks.dna.labelled import alphabet_of, find_layout, looks_labelled, read_labelled
from rondeau.tasks.dna.network import sequence_network
from rondeau.tasks.dna.reading import Reading
from rondeau.tasks.dna.scores import METRICS, SequenceScores
from rondeau.tasks.dna.settings import ClassificationSettings
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.training.losses import SparseCategoricalCrossentropy

_PLACES = 2000  # letters of sequences of one length whose places are told apart, at most
_LISTED = 20


@dataclass(frozen=True)
class Prepared:
    """What is learnt before the model: how letters are read, the classes, and the `length` of all where it is one."""

    reading: Reading
    labels: list[str]
    pooling: str
    length: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        told = {"labels": self.labels, "pooling": self.pooling, "length": self.length}
        return {"reading": self.reading.to_json(), **told}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            length = None if data["length"] is None else int(data["length"])
            return cls(Reading.from_json(data["reading"]), list(data["labels"]), str(data["pooling"]), length)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("what was prepared for the sequences is damaged", got=repr(error)) from error

    @property
    def steps(self) -> int | None:
        """Steps of each sequence where their places are told apart."""
        return None if self.length is None else self.length - self.reading.kmer + 1

    def classes(self, sequences: Sequences) -> tuple[Ids, list[str]]:
        """The number of each sequence's class, and all names: those never learnt come behind those that were."""
        names = list(self.labels)
        known = {name: number for number, name in enumerate(names)}
        numbers = np.empty(len(sequences), np.int64)
        for place, label in enumerate(map(str, sequences.labels())):
            if label not in known:
                known[label] = len(names)
                names.append(label)
            numbers[place] = known[label]
        return numbers, names


class DnaClassification(Job[ClassificationSettings]):
    """Sequences and their classes: a convolution for motifs and recurrent layers in both directions."""

    name, title, settings, steps = (
        "dna_classification",
        "classes of DNA, RNA, proteins",
        ClassificationSettings,
        "bases",
    )
    demo = "splice-like sites, made"
    extra = "bio"
    metrics = METRICS

    def guess(self, path: Path) -> str | None:
        return looks_labelled(path)

    def demo_settings(self) -> ClassificationSettings:
        return ClassificationSettings(epochs=12)

    # data

    def read(self, settings: ClassificationSettings) -> Data:
        faults = Faults(settings.on_error)
        if settings.path is None:
            records = made_splice_sites(seed=settings.seed)
            given: Iterable[tuple[SequenceRecord, str | None]] = ((record, None) for record in records)
            name, notes = "splice-like sites made by the package", list[str]()
            alphabet, unique = DNA, True
        else:
            layout = find_layout(settings.path, settings)
            alphabet, why = alphabet_of([place.path for place in layout.places], settings)
            given = progress(read_labelled(layout, settings, faults), "reading", unit="sequences")
            name, notes = Path(settings.path).name, [layout.reason, why]
            unique = all(kind_of(place.path) in ("fasta", "genbank") for place in layout.places)
        if settings.strands != "one" and alphabet.complement is None:
            fix = "Leave --strands at one"
            raise ArgumentError("strands: a protein has no other strand", got=settings.strands, fix=fix)
        store, parts_given = collect(given, alphabet, faults, unique)
        both = settings.strands != "one"
        shares = settings.validation, settings.test, settings.seed
        parts, more = divide(store, parts_given, *shares, both, settings.group is not None)
        counts = ", ".join(f"{count:,} {label}" for label, count in Counter(store.labels).most_common(10))
        sizes = {"sequences": {part: len(rows) for part, rows in parts._asdict().items()}}
        sizes["letters"] = {part: int(store.lengths[rows].sum()) for part, rows in parts._asdict().items()}
        train, validation, test = (Sequences(store, rows) for rows in parts)
        return Data(
            name, train, validation, test, sizes, store.digest, faults.to_json(), [*notes, f"classes: {counts}", *more]
        )

    def prepare(self, settings: ClassificationSettings, data: Data) -> Prepared:
        train: Sequences = data.train
        reading = Reading(train.store.alphabet, settings.kmer, settings.quality and train.store.qualities)
        labels = sorted({str(label) for label in train.labels()})
        if len(labels) < 2:
            got = ", ".join(map(repr, labels)) or "none"
            raise DataError("the training part has one class only", expected="two or more", got=got)
        lengths = set(train.lengths.tolist())
        one = len(lengths) == 1 and settings.kmer <= min(lengths) <= _PLACES
        pooling = settings.pooling
        if pooling == "places" and not one:
            got = f"{min(lengths):,} to {max(lengths):,} letters"
            fix = "Leave it out, or choose max_mean"
            raise ArgumentError("pooling: places are told apart in sequences of one length", got=got, fix=fix)
        if pooling == "auto":
            pooling = "places" if one else "max_mean"
            reason = "all are of one length, so places are told apart" if one else "they are of several lengths"
            data.notes.append(f"pooling {pooling}: {reason}")
        return Prepared(reading, labels, pooling, min(lengths) if pooling == "places" else None)

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: ClassificationSettings, prepared: Prepared, data: Data | None) -> Any:
        s = settings
        return sequence_network(
            prepared.reading,
            len(prepared.labels),
            cell=s.cell,
            units=s.units,
            depth=s.layers,
            dropout=s.dropout,
            filters=s.filters,
            kernel=s.kernel,
            pool=s.pool,
            pooling=prepared.pooling,
            length=prepared.steps,
            tied=s.strands == "tied",
        )

    def loss(self, settings: ClassificationSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: ClassificationSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(
        self, settings: ClassificationSettings, prepared: Prepared, examples: Sequences, training: bool
    ) -> Buckets:
        y, _ = prepared.classes(examples)
        known = y < len(prepared.labels)  # validation sequences of a class that the training part does not have
        sequences, y = Sequences(examples.store, examples.rows[known]), y[known]
        check_length(prepared, sequences)
        targets, count = torch.from_numpy(y), len(sequences)
        weights = None
        if settings.class_weights == "balanced" and training:
            counts = np.bincount(y, minlength=len(prepared.labels))
            weights = torch.from_numpy((len(y) / (len(counts) * np.maximum(counts, 1)[y])).astype(np.float32))
        lengths = steps_of(prepared.reading, sequences.lengths)
        if training and settings.strands == "augment":
            lengths = np.concatenate([lengths, lengths])  # the second half is the other strands

        def make(rows: Tensor) -> Any:
            numbers = rows % count
            x = inputs_of(sequences, prepared.reading, numbers.numpy(), (rows >= count).tolist(), prepared.steps)
            return (x, targets[numbers]) if weights is None else (x, targets[numbers], weights[numbers])

        return Buckets(lengths, make, settings.batch_size, shuffle=training)

    def count_steps(self, settings: ClassificationSettings, prepared: Prepared, examples: Sequences) -> int:
        return int(examples.lengths.sum()) * (2 if settings.strands == "augment" else 1)

    def name_of(self, settings: ClassificationSettings) -> str:
        front = f"convolution of {settings.filters}, " if settings.filters else ""
        strands = {"one": "", "augment": ", both strands learnt from", "tied": ", strands tied"}[settings.strands]
        return f"{front}{settings.cell} both ways, {settings.layers} x {settings.units}{strands}"

    # answers

    def judge(self, model: Any, settings: ClassificationSettings, prepared: Prepared, examples: Sequences) -> Judged:
        y, names = prepared.classes(examples)
        found = chances(model, prepared, examples)
        scores = SequenceScores(y, found, names)
        groups = examples.groups() if settings.group is not None else None
        rows = [
            {"id": examples.store.id(row), "where": examples.store.where(row), "label": names[true], **record}
            for row, true, record in zip(
                examples.rows.tolist(), y.tolist(), records_of(prepared.labels, found), strict=True
            )
        ]
        return Judged(scores.figures(), scores.intervals(groups, settings.seed), scores.findings(examples), rows)

    def baselines(self, settings: ClassificationSettings, prepared: Prepared, data: Data) -> list[Row]:
        y, held = (prepared.classes(part)[0] for part in (data.train, data.validation))
        known = known_less.Known(data.train, y, data.validation, held, data.test, len(prepared.labels))
        made = [
            known_less.majority(known),
            known_less.markov_chains(known),
            known_less.weight_matrix(known),
            known_less.kmer_counts(known, settings.seed),
        ]
        true, names = prepared.classes(data.test)
        groups = data.test.groups() if settings.group is not None else None
        rows = []
        for one in made:
            if one is not None:
                scores = SequenceScores(true, one.chances, names)
                rows.append(Row(one.name, one.parameters, scores.figures(), scores.intervals(groups, settings.seed)))
        return rows

    def read_examples(
        self, settings: ClassificationSettings, prepared: Prepared, path: str
    ) -> tuple[Sequences, list[str]]:
        faults = Faults(settings.on_error)
        layout = find_layout(path, settings)
        store, parts = collect(read_labelled(layout, settings, faults), prepared.reading.alphabet, faults)
        rows = np.flatnonzero([part == "test" for part in parts]) if "test" in parts else np.arange(len(store))
        sequences = Sequences(store, rows)
        if not len(sequences):
            raise DataError("there are no sequences", where=path, expected="sequences with their classes", got=0)
        self._check_quality(prepared, store, path)
        y, names = prepared.classes(sequences)
        unseen, wrong = names[len(prepared.labels) :], int((y >= len(prepared.labels)).sum())
        if wrong == len(sequences):
            expected, got = (", ".join(map(repr, some[:_LISTED])) for some in (prepared.labels, unseen))
            raise DataError("the run knows none of these classes", expected=expected, got=got, where=path)
        notes = [layout.reason]
        if wrong:
            shown = ", ".join(map(repr, unseen[:5]))
            notes.append(f"{wrong:,} sequences are of classes never learnt ({shown}): they count as errors")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return sequences, notes

    def read_inputs(self, settings: ClassificationSettings, prepared: Prepared, path: str) -> Iterator[SequenceRecord]:
        file = from_standard_input() if path == "-" else None
        try:
            faults = Faults(settings.on_error)
            for place in sequence_files(path if file is None else file):
                records = read_records(place, faults, settings.sequence_column)
                for record, _ in encoded(records, prepared.reading.alphabet, faults, unique=False):
                    yield record
        finally:
            if file is not None:
                file.unlink()

    def answers(
        self,
        model: Any,
        settings: ClassificationSettings,
        prepared: Prepared,
        inputs: list[SequenceRecord],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        faults = Faults(settings.on_error)
        store = SequenceStore(prepared.reading.alphabet, encoded(inputs, prepared.reading.alphabet, faults, False))
        self._check_quality(prepared, store, inputs[0].where)
        found = chances(model, prepared, Sequences(store))
        for one, record in zip(inputs, records_of(prepared.labels, found), strict=True):
            yield {"id": one.id, "where": one.where, **record}

    def explain(
        self, model: Any, settings: ClassificationSettings, prepared: Prepared, example: SequenceRecord
    ) -> Explained | None:
        """Why a sequence got its class; None for those too long to show, and where it is read twice."""
        reading = prepared.reading
        ids = reading.ids(reading.alphabet.encode(example.letters))
        places = prepared.pooling == "places"
        if settings.strands == "tied" or reading.quality or (places and len(ids) > 2 * LONGEST):
            return None
        x = torch.from_numpy(ids if places else ids[:LONGEST])[None].to(next(model.parameters()).device)
        with torch.no_grad():
            chosen = int(model(x)[0].argmax())
        steps = reading.words(x[0].cpu().numpy())
        return Explained(x, steps, prepared.labels[chosen], None, lambda logits: log_softmax(logits, -1)[:, chosen])

    def _check_quality(self, prepared: Prepared, store: SequenceStore, where: Any) -> None:
        if prepared.reading.quality and not store.qualities:
            fix = "Give FASTQ, or train with --no-quality"
            raise DataError("the model reads qualities, and these sequences have none", where=where, fix=fix)


def collect(
    given: Iterable[tuple[SequenceRecord, str | None]], alphabet: Any, faults: Faults, unique: bool = False
) -> tuple[SequenceStore, list[str | None]]:
    """Labelled records as a store, and the part each is of; `unique`: an id that comes twice in a file is a fault."""
    parts: list[str | None] = []
    ids: dict[str, set[str]] = {}

    def noted() -> Iterator[tuple[SequenceRecord, Any]]:
        for record, part in given:
            for one, codes in encoded([record], alphabet, faults, unique=False):
                known = ids.setdefault(f"{part} {one.where.rpartition(', ')[0]}", set())  # of one file
                if unique and one.id in known:
                    fix = "Give each record an id of its own"
                    faults.add("an id comes twice", where=one.where, got=repr(one.id), fix=fix)
                    continue
                if unique:
                    known.add(one.id)
                parts.append(part)
                yield one, codes

    return SequenceStore(alphabet, noted()), parts


def check_length(prepared: Prepared, sequences: Sequences) -> None:
    """Raise `DataError` for a sequence of another length, where places are told apart."""
    if prepared.length is None:
        return
    other = np.flatnonzero(sequences.lengths != prepared.length)
    if len(other):
        row = int(sequences.rows[other[0]])
        got, where = int(sequences.lengths[other[0]]), f"{sequences.store.where(row)} ({sequences.store.id(row)!r})"
        fix = "Give stretches of that length, or train with --pooling max_mean"
        what = "a sequence has another length than all that were learnt from"
        raise DataError(what, expected=f"{prepared.length:,} letters", got=got, where=where, fix=fix)


def chances(model: Any, prepared: Prepared, sequences: Sequences) -> Chances:
    """The probability of each class for each sequence, `(sequences, classes)`."""
    check_length(prepared, sequences)
    logits = np.asarray(outputs_of(model, sequences, prepared.reading, prepared.steps), np.float64)
    shares: NDArray[np.float64] = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def records_of(labels: list[str], found: Chances) -> Iterator[dict[str, Any]]:
    """What is answered to each sequence."""
    for row in found:
        chosen = int(row.argmax())
        record: dict[str, Any] = {"predicted": labels[chosen], "probability": round(float(row[chosen]), 6)}
        if len(labels) <= _LISTED:
            record |= {f"p({label})": round(float(p), 6) for label, p in zip(labels, row, strict=True)}
        yield record
