"""Which class a text is of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from rondeau.data.buckets import Buckets
from rondeau.data.faults import Faults
from rondeau.data.made.reviews import made_reviews
from rondeau.data.progress import progress
from rondeau.data.texts.documents import Document, read_labelled, read_texts
from rondeau.data.texts.layouts import Columns, looks_labelled
from rondeau.data.texts.vectors import read_vectors
from rondeau.errors import ArgumentError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.class_scores import Chances, ClassScores, choose_threshold, decide
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.tasks.texts.bag_of_words import fit_bag_of_words
from rondeau.tasks.texts.divide import divide
from rondeau.tasks.texts.examples import Documents, DocumentStore
from rondeau.tasks.texts.findings import findings_of
from rondeau.tasks.texts.leaks import seen_share
from rondeau.tasks.texts.network import text_classifier
from rondeau.tasks.texts.prepared import Prepared, chances, records_of
from rondeau.tasks.texts.preparing import prepare
from rondeau.tasks.texts.settings import TextClassificationSettings
from rondeau.training.losses import SparseCategoricalCrossentropy

_LISTED = 20  # classes that a message names


@dataclass
class TextData(Data):
    """Documents, the columns they came from, and without any whether each was a whole file."""

    columns: Columns | None = None
    whole: bool | None = None


class TextClassification(Job[TextClassificationSettings]):
    """Documents and their classes: a recurrent network in both directions, beside a bag of words."""

    name, title, settings, steps = "text_classification", "text classification", TextClassificationSettings, "tokens"
    demo = "made reviews, good or bad"
    extra = "text"
    metrics = (Metric("accuracy"), Metric("macro_f1"), Metric("auroc"), Metric("average_precision"))

    def guess(self, path: Path) -> str | None:
        return looks_labelled(path)

    def demo_settings(self) -> TextClassificationSettings:
        return TextClassificationSettings(
            units=32, embedding=32, epochs=8, dropout=0.2, word_dropout=0.0, learning_rate=4e-3
        )

    def read(self, settings: TextClassificationSettings) -> TextData:
        faults = Faults(settings.on_error)
        if settings.path is None:
            given: Iterable[Document] = made_reviews(seed=settings.seed)
            name, reason, columns, whole = "reviews made by the package", "", None, None
        else:
            found = read_labelled(
                settings.path,
                settings.encoding,
                settings.text_column,
                settings.label_column,
                settings.group,
                faults,
            )
            given, reason, columns, whole = found
            name = Path(settings.path).name
        store, digest = collect(given)
        parts, notes = divide(store, settings.validation, settings.test, settings.seed)
        counts = ", ".join(f"{count:,} of {label!r}" for label, count in Counter(store.labels.counts()).most_common(10))
        return TextData(
            name=name,
            train=Documents(store, parts.train),
            validation=Documents(store, parts.validation),
            test=Documents(store, parts.test),
            sizes={"documents": {part: len(rows) for part, rows in parts._asdict().items()}},
            digest=digest,
            skipped=faults.to_json(),
            notes=[*([reason] if reason else []), f"classes: {counts}", *notes],
            columns=columns,
            whole=whole,
        )

    def prepare(self, settings: TextClassificationSettings, data: Data) -> Prepared:
        columns = data.columns if isinstance(data, TextData) else None
        prepared, notes = prepare(settings, _documents(data.train), columns)
        prepared = replace(prepared, whole=data.whole) if isinstance(data, TextData) else prepared
        data.notes += notes
        data.sizes["tokens"] = {
            part: int(_documents(getattr(data, part)).encoded(prepared.reading).lengths.sum())
            for part in ("train", "validation", "test")
        }
        return prepared

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    def build(self, settings: TextClassificationSettings, prepared: Prepared, data: Data | None) -> Any:
        vectors = prepared.vectors
        if settings.vectors is not None and vectors is None:  # a run that is taken up again
            vectors = read_vectors(
                settings.vectors, prepared.reading.vocabulary, settings.seed, Faults(settings.on_error)
            )
        model = text_classifier(
            prepared.reading.vocabulary.size,
            len(prepared.labels),
            settings.cell,
            settings.units,
            settings.layers,
            settings.embedding if vectors is None else vectors.table.shape[1],
            settings.pooling,
            settings.dropout,
            settings.word_dropout,
            settings.train_vectors,
        )
        if vectors is not None:
            model.get_layer("vectors").set_weights([vectors.table])
        return model

    def loss(self, settings: TextClassificationSettings, prepared: Prepared, data: Data) -> Any:
        return SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: TextClassificationSettings, prepared: Prepared) -> list[Any]:
        return ["accuracy"]

    def batches(
        self, settings: TextClassificationSettings, prepared: Prepared, examples: Sequence[Any], training: bool
    ) -> Buckets:
        documents = _documents(examples)
        y, _ = prepared.classes(documents)
        if (y >= len(prepared.labels)).any():  # of a class that the training part does not have
            documents = Documents(documents.store, documents.rows[y < len(prepared.labels)])
            y = y[y < len(prepared.labels)]
        encoded, targets = documents.encoded(prepared.reading), torch.from_numpy(y)
        weights = None if prepared.weights is None else torch.tensor(prepared.weights)[targets]

        def make(rows: Tensor) -> Any:
            x = encoded.rows(rows)
            return (x, targets[rows]) if weights is None else (x, targets[rows], weights[rows])

        return Buckets(encoded.lengths, make, settings.batch_size, shuffle=training)

    def count_steps(self, settings: TextClassificationSettings, prepared: Prepared, examples: Sequence[Any]) -> int:
        return int(_documents(examples).encoded(prepared.reading).lengths.sum())

    def settle(self, model: Any, settings: TextClassificationSettings, prepared: Prepared, data: Data) -> Prepared:
        validation = _documents(data.validation)
        if prepared.positive is None or settings.threshold != "validation" or not len(validation):
            return prepared
        y, _ = prepared.classes(validation)
        chosen = choose_threshold(y, chances(model, prepared, validation), prepared.positive)
        return replace(prepared, threshold=chosen)

    def judge(
        self, model: Any, settings: TextClassificationSettings, prepared: Prepared, examples: Sequence[Any]
    ) -> Judged:
        documents = _documents(examples)
        scores = _scores(prepared, documents, chances(model, prepared, documents), prepared.threshold)
        groups = documents.groups() if settings.group is not None else None
        rows = [
            {"where": document.where, "text": document.text, "label": document.label, **record}
            for document, record in zip(documents, records_of(prepared, scores.chances, scores.predicted), strict=True)
        ]
        lengths = documents.encoded(prepared.reading).lengths
        findings = findings_of(scores, documents, lengths, prepared.threshold)
        return Judged(scores.figures(), scores.intervals(groups), findings, rows)

    def baselines(self, settings: TextClassificationSettings, prepared: Prepared, data: Data) -> list[Row]:
        train, validation, test = (_documents(part) for part in (data.train, data.validation, data.test))
        y, held = prepared.classes(train)[0], prepared.classes(validation)[0]
        groups = test.groups() if settings.group is not None else None
        count = len(prepared.labels)
        share = np.bincount(y, minlength=count) / len(y)
        most = _scores(prepared, test, np.tile(share, (len(test), 1)), 0.5)
        bag = fit_bag_of_words(
            (document.text for document in train),
            y,
            (document.text for document in validation),
            held,
            count,
            balanced=prepared.weights is not None,
            seed=settings.seed,
        )
        threshold = 0.5
        if prepared.positive is not None and settings.threshold == "validation" and len(validation):
            found = bag.chances(document.text for document in validation)
            threshold = choose_threshold(held, found, prepared.positive)
        bagged = _scores(prepared, test, bag.chances(document.text for document in test), threshold)
        return [
            Row("majority", None, most.figures(), most.intervals(groups)),
            Row("bag of words + logistic regression", bag.parameters, bagged.figures(), bagged.intervals(groups)),
        ]

    def read_examples(
        self, settings: TextClassificationSettings, prepared: Prepared, path: str
    ) -> tuple[Documents, list[str]]:
        faults = Faults(settings.on_error)
        text, label = prepared.columns or (None, None)
        found = read_labelled(path, settings.encoding, text, label, settings.group, faults)
        documents = Documents(collect(found.documents)[0])
        if not len(documents):
            raise DataError("there are no documents", where=path, expected="texts with their classes", got=0)
        y, names = prepared.classes(documents)
        unseen, known = names[len(prepared.labels) :], ", ".join(map(repr, prepared.labels[:_LISTED]))
        wrong = int((y >= len(prepared.labels)).sum())
        if wrong == len(documents):
            got = ", ".join(map(repr, unseen[:_LISTED]))
            raise DataError("the run knows none of these classes", expected=known, got=got, where=path)
        notes = [found.reason]
        if wrong:
            shown = ", ".join(map(repr, unseen[:5]))
            notes.append(f"{wrong:,} documents are of classes never learnt ({shown}): they count as errors")
        seen = seen_share((document.text for document in documents), prepared.seen, prepared.learnt)
        if seen > 0:
            notes.append(f"{seen:.0%} of these documents were learnt from: of new ones the figures would be worse")
        encoded = documents.encoded(prepared.reading)
        share = encoded.unknown / max(int(encoded.lengths.sum()), 1)
        notes.append(f"{share:.1%} of the tokens are not in the run's vocabulary")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return documents, notes

    def read_inputs(self, settings: TextClassificationSettings, prepared: Prepared, path: str) -> Iterator[Document]:
        column = None if prepared.columns is None else prepared.columns[0]
        column, faults = settings.text_column or column, Faults(settings.on_error)
        return read_texts(path, settings.encoding, column, faults, prepared.whole)

    def explain(
        self, model: Any, settings: TextClassificationSettings, prepared: Prepared, example: Document
    ) -> Explained | None:
        tokens = prepared.reading.tokens(example.text)[:LONGEST]
        if not tokens:
            return None
        x = torch.from_numpy(prepared.reading.vocabulary.encode(tokens))[None]
        with torch.no_grad():
            chosen = int(model(x.to(next(model.parameters()).device))[0].argmax())
        segmenter = prepared.reading.segmenter
        steps = [f"{token} " if segmenter.kind == "words" else segmenter.join([token]) for token in tokens]
        return Explained(x, steps, prepared.labels[chosen], None, lambda logits: log_softmax(logits, -1)[:, chosen])

    def answers(
        self,
        model: Any,
        settings: TextClassificationSettings,
        prepared: Prepared,
        inputs: list[Document],
        options: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        store = DocumentStore()
        for document in inputs:
            store.add(document)
        documents = Documents(store)
        found = chances(model, prepared, documents)
        predicted = decide(found, prepared.positive, prepared.threshold)
        for document, record in zip(inputs, records_of(prepared, found, predicted), strict=True):
            ids = prepared.reading.ids(document.text)
            unknown = {"tokens": len(ids), "unknown_tokens": int((ids == 1).sum())}
            yield {"where": document.where, "text": document.text, **record, **unknown}

    def name_of(self, settings: TextClassificationSettings) -> str:
        return f"bidirectional {settings.cell}, {settings.layers} x {settings.units}"


def collect(documents: Iterable[Document]) -> tuple[DocumentStore, str]:
    """All documents, and a digest that tells them from others."""
    store, digest = DocumentStore(), hashlib.blake2b(digest_size=16)
    for document in progress(documents, "reading", unit="documents"):
        store.add(document)
        digest.update(f"{document.label}\0{document.part}\0{document.text}\0".encode("utf-8", "surrogatepass"))
    return store, digest.hexdigest()


def _scores(prepared: Prepared, documents: Documents, found: Chances, threshold: float) -> ClassScores:
    y, names = prepared.classes(documents)
    return ClassScores(y, found, names, prepared.positive, threshold)


def _documents(examples: Any) -> Documents:
    if not isinstance(examples, Documents):
        raise ArgumentError("examples of another task", expected="Documents", got=type(examples).__name__)
    return examples
