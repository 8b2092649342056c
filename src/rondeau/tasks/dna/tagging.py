"""A tag for every letter of a sequence: genes, exons, sites."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.dna.alphabets import DNA
from rondeau.data.dna.files import from_standard_input, kind_of, read_records, sequence_files
from rondeau.data.dna.records import SequenceRecord, encoded
from rondeau.data.dna.store import SequenceStore, ragged
from rondeau.data.faults import Faults
from rondeau.data.made.genes import made_genome
from rondeau.data.progress import progress
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.bootstrap import intervals
from rondeau.tasks.dna.annotated import OTHER, Annotated, find_annotated, looks_annotated, read_annotated
from rondeau.tasks.dna.labelled import alphabet_of
from rondeau.tasks.dna.network import sequence_network
from rondeau.tasks.dna.pieces import Pieces, digest_of, divide
from rondeau.tasks.dna.reading import Reading
from rondeau.tasks.dna.scores import matthews
from rondeau.tasks.dna.settings import TaggingSettings
from rondeau.tasks.dna.tag_baselines import Tagged, all_told
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.training.batch import Batch
from rondeau.training.losses import SparseCategoricalCrossentropy

METRICS = (Metric("mcc"), Metric("accuracy", percent=True, digits=4), Metric("macro_f1"))
_MARGIN = 100  # letters on either side of a stretch that are read, and not answered
_AT_ONCE = 64  # stretches
Tags = NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """How letters are read, the names of the tags, and the byte by which each stands in the data."""

    reading: Reading
    tags: list[str]
    bytes: list[int]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it."""
        return {"reading": self.reading.to_json(), "tags": self.tags, "bytes": self.bytes}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            return cls(Reading.from_json(data["reading"]), list(data["tags"]), [int(i) for i in data["bytes"]])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("what was prepared for the tags is damaged", got=repr(error)) from error

    @property
    def named(self) -> bool:
        """Whether tags are features with names, not the letters of a table."""
        return self.bytes == list(range(len(self.bytes)))

    @property
    def swapped(self) -> list[int] | None:
        """Of each tag the one of the other strand; None where tags do not know of strands."""
        other = [name[:-1] if name.endswith("-") else f"{name}-" for name in self.tags]
        if not set(other) & set(self.tags):
            return None
        return [self.tags.index(name) if name in self.tags else i for i, name in enumerate(other)]

    def numbers(self, raw: NDArray[np.uint8]) -> Tags:
        """The number of each tag; -1 for one that was not learnt."""
        table = np.full(256, -1)
        table[self.bytes] = np.arange(len(self.bytes))
        found: Tags = table[raw]
        return found


@dataclass
class TaggedData(Data):
    """Stretches, and the names of their tags by number; None where tags are letters."""

    tags: list[str] | None = None


class DnaTagging(Job[TaggingSettings]):
    """A tag for each letter, by a convolution and recurrent layers in both directions."""

    name, title, settings, steps = "dna_tagging", "tags for letters of DNA, RNA, proteins", TaggingSettings, "bases"
    demo = "genes in made contigs"
    extra = "bio"
    metrics = METRICS

    def guess(self, path: Path) -> str | None:
        return looks_annotated(path)

    def demo_settings(self) -> TaggingSettings:
        return TaggingSettings(epochs=12, window=300, batch_size=8, units=48, filters=64, validation=0.15, test=0.15)

    # data

    def read(self, settings: TaggingSettings) -> Data:
        faults = Faults(settings.on_error)
        if settings.path is None:
            records = made_genome(seed=settings.seed, records=60)
            found = Annotated([], None, [OTHER, "exon", "intron"], "made")
            given: Iterable[SequenceRecord] = (_with_tags(one, found.tags or [], settings) for one in records)
            name, notes, alphabet = "contigs made by the package", list[str](), DNA
        else:
            found = find_annotated(settings.path, settings, faults)
            alphabet, why = alphabet_of(found.files, settings)
            given = progress(read_annotated(found, settings, faults), "reading", unit="sequences")
            name, notes = Path(settings.path).name, [found.reason, why]
        if settings.strands != "one" and alphabet.complement is None:
            raise ArgumentError("strands: a protein has no other strand", got=settings.strands, fix="--strands one")
        unique = all(kind_of(file) in ("fasta", "genbank") for file in found.files)
        store = SequenceStore(alphabet, encoded(given, alphabet, faults, unique))
        if not len(store):
            raise DataError("there are no sequences", expected="sequences with a tag for each letter", got=0)
        shares = settings.validation, settings.test, settings.seed
        *parts, more = divide(store, *shares, settings.window)
        sizes = {"letters": dict(zip(("train", "validation", "test"), (one.letters for one in parts), strict=True))}
        digest = digest_of(store, tuple(parts)) + (",".join(found.tags or []))
        told = [*notes, *found.notes, *more]
        return TaggedData(name, parts[0], parts[1], parts[2], sizes, digest, faults.to_json(), told, found.tags)

    def prepare(self, settings: TaggingSettings, data: Data) -> Prepared:
        store: SequenceStore = data.train.source
        seen = np.zeros(256, np.int64)
        for number in range(len(data.train)):
            seen += np.bincount(store.read_tags(*data.train.at(number)), minlength=256)
        present = np.flatnonzero(seen).tolist()
        names = data.tags if isinstance(data, TaggedData) else None
        if names is None:
            bytes_, tags = present, [chr(code) for code in present]
        else:
            bytes_, tags = list(range(len(names))), names
        if len(present) < 2:
            got = ", ".join(tags[bytes_.index(code)] for code in present) or "none"
            raise DataError("there is one tag only, and nothing to learn", got=got, expected="two or more")
        shares = ", ".join(f"{seen[code] / seen.sum():.1%} {tag}" for code, tag in zip(bytes_, tags, strict=True))
        data.notes.append(f"tags of the training part: {shares}")
        return Prepared(Reading(store.alphabet), tags, bytes_)

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: TaggingSettings, prepared: Prepared, data: Data | None) -> Any:
        s = settings
        return sequence_network(
            prepared.reading,
            len(prepared.tags),
            cell=s.cell,
            units=s.units,
            depth=s.layers,
            dropout=s.dropout,
            filters=s.filters,
            kernel=s.kernel,
            pooling=None,
            tied=s.strands == "tied",
            swapped=prepared.swapped,
        )

    def loss(self, settings: TaggingSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: TaggingSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(self, settings: TaggingSettings, prepared: Prepared, examples: Pieces, training: bool) -> Buckets:
        pieces = examples.cut(settings.window)
        store, count = pieces.source, len(pieces)
        both = training and settings.strands == "augment"
        lengths = np.concatenate([pieces.lengths, pieces.lengths]) if both else pieces.lengths
        swapped = prepared.swapped

        def make(rows: Tensor) -> Batch:
            codes, tags = [], []
            for number in rows.tolist():
                row, begin, end = pieces.at(number % count)
                own, named = store.read(row, begin, end), prepared.numbers(store.read_tags(row, begin, end))
                if number >= count:
                    own, named = store.alphabet.reverse_complement(own), named[::-1]
                    if swapped is not None:
                        named = np.where(named >= 0, np.array(swapped)[named], -1)
                codes.append(own)
                tags.append(named)
            x, y = ragged(codes), ragged(tags)
            weight = None if bool((y.values >= 0).all()) else y.with_values((y.values >= 0).float())
            return Batch(x, y.with_values(y.values.clamp(min=0)), weight)

        return Buckets(lengths, make, settings.batch_size, shuffle=training)

    def count_steps(self, settings: TaggingSettings, prepared: Prepared, examples: Pieces) -> int:
        return examples.letters * (2 if settings.strands == "augment" else 1)

    def name_of(self, settings: TaggingSettings) -> str:
        front = f"convolution of {settings.filters}, " if settings.filters else ""
        strands = {"one": "", "augment": ", both strands learnt from", "tied": ", strands tied"}[settings.strands]
        return f"{front}{settings.cell} both ways, {settings.layers} x {settings.units}{strands}"

    # answers

    def judge(self, model: Any, settings: TaggingSettings, prepared: Prepared, examples: Pieces) -> Judged:
        pieces = examples.cut(settings.window)
        told = [shares.argmax(1) for shares in shares_of(model, pieces)]
        scores, ends, counts = self._scores(prepared, pieces, told, settings.seed)
        findings = {
            "confusion": {"labels": prepared.tags, "counts": counts.tolist()},
            "by_group": [_by_tag(prepared.tags, counts)],
        }
        rows = [
            {"place": pieces.place(number), "features": stretches_of(own, prepared.tags)}
            for number, own in enumerate(told)
        ]
        return Judged(scores, ends, findings, rows)

    def _scores(
        self, prepared: Prepared, pieces: Pieces, told: list[Tags], seed: int
    ) -> tuple[dict[str, float], dict[str, tuple[float, float]], NDArray[np.int64]]:
        size = len(prepared.tags)
        each = np.zeros((len(pieces), size, size), np.int64)
        for number, own in enumerate(told):
            true = prepared.numbers(pieces.source.read_tags(*pieces.at(number)))
            known = true >= 0
            np.add.at(each[number], (true[known], own[known]), 1)
        total = each.sum(0)
        groups = pieces.rows.tolist() if len(set(pieces.rows.tolist())) >= 10 else None
        return figures(total), intervals(lambda rows: figures(each[rows].sum(0)), len(each), groups, seed=seed), total

    def baselines(self, settings: TaggingSettings, prepared: Prepared, data: Data) -> list[Row]:
        test: Pieces = data.test.cut(settings.window)

        def tagged(pieces: Pieces) -> Iterator[Tagged]:
            for number in range(len(pieces)):
                raw = pieces.source.read_tags(*pieces.at(number))
                yield Tagged(pieces.read(number), prepared.numbers(raw))

        size = prepared.reading.alphabet.size
        given = (lambda: tagged(data.train)), (lambda: tagged(data.validation)), list(tagged(test))
        rows = []
        for one in all_told(*given, size, len(prepared.tags)):
            scores, ends, _ = self._scores(prepared, test, one.tags, settings.seed)
            rows.append(Row(one.name, one.parameters, scores, ends))
        return rows

    def read_examples(self, settings: TaggingSettings, prepared: Prepared, path: str) -> tuple[Pieces, list[str]]:
        faults = Faults(settings.on_error)
        found = find_annotated(path, settings, faults, prepared.tags if prepared.named else None)
        alphabet = prepared.reading.alphabet
        store = SequenceStore(alphabet, encoded(read_annotated(found, settings, faults), alphabet, faults, False))
        if not len(store):
            raise DataError("there are no sequences", where=path, expected="sequences with a tag for each letter")
        notes = [found.reason, *found.notes, *([f"left out: {faults.describe()}"] if faults.total else [])]
        return Pieces.whole(store), notes

    def read_inputs(self, settings: TaggingSettings, prepared: Prepared, path: str) -> Iterator[SequenceRecord]:
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
        settings: TaggingSettings,
        prepared: Prepared,
        inputs: list[SequenceRecord],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        alphabet = prepared.reading.alphabet
        plain = (one._replace(tags=None) for one in inputs)
        store = SequenceStore(alphabet, encoded(plain, alphabet, Faults(settings.on_error), False))
        pieces = Pieces.whole(store).cut(settings.window)
        by_row: dict[int, list[NDArray[np.float64]]] = {}
        for number, shares in enumerate(shares_of(model, pieces)):
            by_row.setdefault(int(pieces.rows[number]), []).append(shares)
        for row, one in enumerate(inputs):
            shares = np.concatenate(by_row[row])
            told = shares.argmax(1)
            record: dict[str, Any] = {"id": one.id, "where": one.where, "length": len(told)}
            if not prepared.named:
                record["tags"] = "".join(prepared.tags[i] for i in told)
            yield record | {"features": stretches_of(told, prepared.tags, shares)}

    def explain(self, model: Any, settings: TaggingSettings, prepared: Prepared, example: Any) -> Explained | None:
        """Why the letter that the model is least sure of, among the first of a stretch, got its tag."""
        alphabet = prepared.reading.alphabet
        if settings.strands == "tied":
            return None
        if isinstance(example, SequenceRecord):
            codes = alphabet.encode(example.letters)[:LONGEST]
        else:
            codes = example.codes(LONGEST)
        x = torch.from_numpy(codes.astype(np.int64))[None].to(next(model.parameters()).device)
        with torch.no_grad():
            logs = torch.log_softmax(model(x)[0], -1)
        place = int(logs.amax(1).argmin())
        tag = int(logs[place].argmax())
        answer = f"{alphabet.decode(codes[place : place + 1])}: {prepared.tags[tag]}"

        def target(y: Any) -> Tensor:
            return torch.log_softmax(y, -1)[:, place, tag]

        return Explained(x, list(alphabet.decode(codes)), answer, place, target)


def _with_tags(record: SequenceRecord, tags: list[str], settings: TaggingSettings) -> SequenceRecord:
    painted = np.zeros(len(record.letters), np.uint8)
    for one in record.features:
        painted[one.begin : one.end] = tags.index(one.kind)
    return record._replace(tags=painted.tobytes(), features=())


def shares_of(model: Any, pieces: Pieces) -> Iterator[NDArray[np.float64]]:
    """Of each stretch the probability of each tag for each letter, `(letters, tags)`; a margin beside it is read."""
    for first in range(0, len(pieces), _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, len(pieces)))
        given = [pieces.read(number, _MARGIN, _MARGIN) for number in numbers]
        logits = model.predict(ragged(given), batch_size=_AT_ONCE)
        for number, own in zip(numbers, logits, strict=True):
            begin = int(min(pieces.begins[number], _MARGIN))
            kept = np.asarray(own, np.float64)[begin : begin + int(pieces.lengths[number])]
            shares = np.exp(kept - kept.max(1, keepdims=True))
            yield shares / shares.sum(1, keepdims=True)


def stretches_of(told: Tags, tags: list[str], shares: Any = None) -> list[dict[str, Any]]:
    """Stretches of one tag, counted from 0, `end` not included; those of letters without a feature are left out."""
    edges = [0, *(np.flatnonzero(np.diff(told)) + 1).tolist(), len(told)]
    found = []
    for begin, end in itertools.pairwise(edges):
        if begin == end or tags[told[begin]] == OTHER:
            continue
        record: dict[str, Any] = {"tag": tags[told[begin]], "begin": begin, "end": end}
        if shares is not None:
            record["probability"] = round(float(shares[begin:end, told[begin]].mean()), 4)
        found.append(record)
    return found


def figures(counts: NDArray[np.int64]) -> dict[str, float]:
    """Matthews' correlation, accuracy and macro-F1 of a confusion matrix `(true, said)`."""
    hits, both = np.diag(counts), counts.sum(0) + counts.sum(1)
    there = both > 0
    f1 = float((2 * hits[there] / both[there]).mean()) if there.any() else 0.0
    return {"mcc": matthews(counts), "accuracy": float(hits.sum() / max(counts.sum(), 1)), "macro_f1": f1}


def _by_tag(tags: list[str], counts: NDArray[np.int64]) -> dict[str, Any]:
    rows = []
    for i, tag in enumerate(tags):
        right, there, said = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
        precision, recall = round(right / said, 4) if said else None, round(right / there, 4) if there else None
        rows.append([tag, there, precision, recall, round(2 * right / (there + said), 4) if there + said else None])
    return {"title": "by tag", "heads": ["tag", "letters", "precision", "recall", "F1"], "rows": rows}
