"""Which class a text is of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.documents import Document, read_labelled, read_texts
from rondeau.data.faults import Faults
from rondeau.data.layouts import Columns, looks_labelled
from rondeau.data.reviews import made_reviews
from rondeau.data.segment import KINDS, Segmenter
from rondeau.data.vectors import Vectors, read_vectors
from rondeau.data.vocabulary import Vocabulary
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.tasks.class_scores import Chances, ClassScores, Ids, choose_threshold
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.texts.bag_of_words import fit_bag_of_words
from rondeau.tasks.texts.divide import divide
from rondeau.tasks.texts.examples import Documents, DocumentStore, Reading
from rondeau.tasks.texts.findings import findings_of
from rondeau.tasks.texts.network import POOLINGS, text_classifier
from rondeau.training.losses import SparseCategoricalCrossentropy

MANY_DOCUMENTS = 1000
"""From this many training documents on, words that come once are not learnt."""

_TOKENS_AT_ONCE = 1 << 15  # read by the model at a time when it answers
_LISTED = 20  # classes whose probabilities are all told


@dataclass(frozen=True)
class TextClassificationSettings(Settings):
    """What the classification of texts is asked, beyond what every job is."""

    encoding: str = option("utf-8", "How text files are written: utf-8, latin-1, cp1252, utf-16, ...")
    text_column: str | None = option(None, "Column of the texts in a table. Default: guessed.")
    label_column: str | None = option(None, "Column of the classes in a table. Default: guessed.")
    tokens: str = option("words", "What a text is split into.", KINDS)
    lower: bool = option(True, "Turn texts into lower case.")
    vocabulary: int = option(50_000, "Words that are learnt, at most; for bpe, the pieces.")
    min_count: int | None = option(None, "Learn words that come so often. Default: 2, with few documents or vectors 1.")
    longest: int = option(500, "Tokens that are read of a text, at most: of a longer one the first and the last half.")
    vectors: str | None = option(None, "Word vectors to begin with: a .vec or GloVe text file, .gz too.")
    train_vectors: bool = option(True, "Go on learning the vectors.")
    embedding: int = option(100, "Features of a word's vector, where none are given.")
    pooling: str = option("max", "What stands for the text.", POOLINGS)
    word_dropout: float = option(0.0, "Share of the words that are blanked out in training.")
    class_weight: str = option("none", "Let rare classes count as much as frequent ones.", ("none", "balanced"))
    positive: str | None = option(None, "Of two classes the one to be found. Default: the rarer one.")
    threshold: str = option("validation", "Of two classes: where the line is drawn.", ("validation", "0.5"))
    dropout: float = option(0.5, "Rate before, between and after the recurrent layers.")
    epochs: int = option(6, "Times all of the training part is read, at most.")

    def check(self) -> None:
        """Raise `ArgumentError` for settings no run can begin with."""
        super().check()
        for name in ("longest", "embedding", "vocabulary"):
            if getattr(self, name) < 2:
                raise ArgumentError(name, expected="2 or more", got=getattr(self, name))
        for name in ("dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(name, expected="0 or more, below 1", got=getattr(self, name))
        if self.min_count is not None and self.min_count < 1:
            raise ArgumentError("min_count", expected="1 or more", got=self.min_count)
        if self.tokens == "bpe" and self.vocabulary < 256:
            raise ArgumentError("vocabulary: there are 256 bytes", expected="256 or more", got=self.vocabulary)
        if self.vectors is not None and self.tokens != "words":
            raise ArgumentError("vectors are those of words", got=f"tokens={self.tokens!r}", fix="Leave them out")
        if self.vectors is None and not self.train_vectors:
            raise ArgumentError("train_vectors: there are none but those that are learnt", fix="Give some: --vectors")


@dataclass
class TextData(Data):
    """Documents, and the columns they came from."""

    columns: Columns | None = None


@dataclass(frozen=True)
class Prepared:
    """What is learnt from the training part: how texts are read, the classes, and later the threshold.

    Attributes: `weights`, of each class in the loss, None for equal ones; `vectors`, given ones, until the model is
    built; `columns`, of the texts and classes in a table.
    """

    reading: Reading
    labels: list[str]
    positive: int | None = None
    threshold: float = 0.5
    weights: list[float] | None = None
    columns: tuple[str, str] | None = None
    vectors: Vectors | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it, without the vectors: the model has them."""
        return {
            "reading": self.reading.to_json(),
            "labels": self.labels,
            "positive": self.positive,
            "threshold": self.threshold,
            "weights": self.weights,
            "columns": None if self.columns is None else list(self.columns),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        """What `to_json` gave. Raises `CheckpointError` for anything else."""
        try:
            labels, positive, threshold = data["labels"], data["positive"], float(data["threshold"])
            weights, columns, reading = data["weights"], data["columns"], data["reading"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError("what was prepared for the texts is damaged", got=error) from error
        pair = None if columns is None else (str(columns[0]), str(columns[1]))
        return cls(Reading.from_json(reading), list(labels), positive, threshold, weights, pair)

    def classes(self, documents: Documents) -> tuple[Ids, list[str]]:
        """The number of each document's class, and all names: those never learnt come behind those that were."""
        names = list(self.labels)
        known = {name: number for number, name in enumerate(names)}
        numbers = np.empty(len(documents), np.int64)
        for i, row in enumerate(documents.rows.tolist()):
            label = str(documents.store.labels[row])
            if label not in known:
                known[label] = len(names)
                names.append(label)
            numbers[i] = known[label]
        return numbers, names


class TextClassification(Job[TextClassificationSettings]):
    """Documents and their classes: a recurrent network in both directions, beside a bag of words."""

    name, title, settings, steps = "text_classification", "text classification", TextClassificationSettings, "tokens"
    extra = "text"
    metrics = (Metric("accuracy"), Metric("macro_f1"), Metric("auroc"), Metric("average_precision"))

    def guess(self, path: Path) -> str | None:
        return looks_labelled(path)

    def demo_settings(self) -> TextClassificationSettings:
        return TextClassificationSettings(units=32, embedding=32, epochs=8, dropout=0.2, learning_rate=4e-3)

    def read(self, settings: TextClassificationSettings) -> TextData:
        faults = Faults(settings.on_error)
        if settings.path is None:
            given: Iterable[Document] = made_reviews(seed=settings.seed)
            name, reason, columns = "reviews made by the package", "", None
        else:
            found = read_labelled(
                settings.path,
                settings.encoding,
                settings.text_column,
                settings.label_column,
                settings.group,
                faults,
            )
            given, reason, columns = found
            name = Path(settings.path).name
        store, digest = collect(given)
        parts, notes = divide(store, settings.validation, settings.test, settings.seed)
        counts = ", ".join(f"{count:,} {label}" for label, count in Counter(store.labels).most_common(10))
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
        )

    def prepare(self, settings: TextClassificationSettings, data: Data) -> Prepared:
        train = _documents(data.train)
        mixed = np.random.default_rng(settings.seed).permutation(len(train))
        texts = (train[i].text for i in mixed.tolist())
        segmenter = Segmenter.train(texts, settings.tokens, settings.lower, settings.vocabulary)
        least = settings.min_count
        if least is None:
            plain = settings.tokens == "words" and settings.vectors is None and len(train) >= MANY_DOCUMENTS
            least = 2 if plain else 1
        counts: Counter[str] = Counter()
        for document in train:
            counts.update(segmenter.split(document.text))
        if segmenter.pieces is not None:  # all of them, so that no text has an unknown one
            counts.update(dict.fromkeys(segmenter.pieces.to_json()["tokens"], 0))
            least = 0
        vocabulary = Vocabulary.from_counts(counts, least, settings.vocabulary + 2)
        labels = sort_labels({str(train.store.labels[row]) for row in train.rows.tolist()})
        columns = data.columns if isinstance(data, TextData) else None
        prepared = Prepared(
            Reading(segmenter, vocabulary, settings.longest),
            labels,
            columns=None if columns is None else (columns.text, columns.label),
        )
        y, _ = prepared.classes(train)
        weights = None
        if settings.class_weight == "balanced":
            weights = (len(y) / (len(labels) * np.bincount(y, minlength=len(labels)))).tolist()
        data.sizes["tokens"] = {
            part: int(_documents(getattr(data, part)).encoded(prepared.reading).lengths.sum())
            for part in ("train", "validation", "test")
        }
        data.notes += _note_reading(prepared.reading, train, counts)
        vectors = self._vectors(settings, vocabulary, counts, data.notes)
        return replace(prepared, positive=_positive(settings, labels, y), weights=weights, vectors=vectors)

    def _vectors(
        self, settings: TextClassificationSettings, vocabulary: Vocabulary, counts: Counter[str], notes: list[str]
    ) -> Vectors | None:
        if settings.vectors is None:
            return None
        faults = Faults(settings.on_error)
        vectors = read_vectors(settings.vectors, vocabulary, settings.seed, faults)
        share = vectors.coverage([counts[token] for token in vocabulary.tokens])
        found = f"{vectors.coverage():.1%} of the words, {share:.1%} of the training tokens"
        notes.append(f"vectors from {vectors.name}: {vectors.table.shape[1]} features, for {found}")
        if faults.total:
            notes.append(f"vectors left out: {faults.describe()}")
        return vectors

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
            for document, record in zip(documents, _records(prepared, scores.chances, scores.predicted), strict=True)
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
        encoded = documents.encoded(prepared.reading)
        share = encoded.unknown / max(int(encoded.lengths.sum()), 1)
        notes.append(f"{share:.1%} of the tokens are not in the run's vocabulary")
        if faults.total:
            notes.append(f"left out: {faults.describe()}")
        return documents, notes

    def read_inputs(self, settings: TextClassificationSettings, prepared: Prepared, path: str) -> Iterator[Document]:
        column = None if prepared.columns is None else prepared.columns[0]
        return read_texts(path, settings.encoding, settings.text_column or column, Faults(settings.on_error))

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
        predicted = ClassScores(
            np.zeros(len(inputs), np.int64), found, prepared.labels, prepared.positive, prepared.threshold
        ).predicted
        for document, record in zip(inputs, _records(prepared, found, predicted), strict=True):
            ids = prepared.reading.ids(document.text)
            unknown = {"tokens": len(ids), "unknown_tokens": int((ids == 1).sum())}
            yield {"where": document.where, "text": document.text, **record, **unknown}

    def name_of(self, settings: TextClassificationSettings) -> str:
        return f"bidirectional {settings.cell}, {settings.layers} x {settings.units}"


def collect(documents: Iterable[Document]) -> tuple[DocumentStore, str]:
    """All documents, and a digest that tells them from others."""
    store, digest = DocumentStore(), hashlib.blake2b(digest_size=16)
    for document in documents:
        store.add(document)
        digest.update(f"{document.label}\0{document.part}\0{document.text}\0".encode("utf-8", "surrogatepass"))
    return store, digest.hexdigest()


def chances(model: Any, prepared: Prepared, documents: Documents) -> Chances:
    """The probability of each class for each document, `(documents, classes)`."""
    encoded = documents.encoded(prepared.reading)
    source = Buckets(encoded.lengths, encoded.rows, tokens=_TOKENS_AT_ONCE, batch_size=1024, shuffle=False)
    order = torch.cat(list(source.numbers()))
    logits = torch.from_numpy(np.asarray(model.predict(source))).double()
    found = torch.empty_like(logits)
    found[order] = torch.softmax(logits, -1)
    return found.numpy()


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Numbers by their size, words by their letters."""
    listed = sorted(labels)
    try:
        return sorted(listed, key=float)
    except ValueError:
        return listed


def _scores(prepared: Prepared, documents: Documents, found: Chances, threshold: float) -> ClassScores:
    y, names = prepared.classes(documents)
    return ClassScores(y, found, names, prepared.positive, threshold)


def _records(prepared: Prepared, found: Chances, predicted: Ids) -> Iterator[dict[str, Any]]:
    """What is answered to each document."""
    for row, own in zip(found, predicted.tolist(), strict=True):
        record = {"predicted": prepared.labels[own], "probability": round(float(row[own]), 6)}
        if len(prepared.labels) <= _LISTED:
            record |= {f"p({label})": round(float(p), 6) for label, p in zip(prepared.labels, row, strict=True)}
        yield record


def _positive(settings: TextClassificationSettings, labels: list[str], y: NDArray[np.int64]) -> int | None:
    if len(labels) != 2:
        if settings.positive is not None:
            raise ArgumentError("positive is for two classes", got=f"{len(labels)} classes", fix="Leave it out")
        return None
    if settings.positive is None:
        return int((y == 1).sum() <= (y == 0).sum())
    if settings.positive not in labels:
        raise ArgumentError("positive", expected=" or ".join(map(repr, labels)), got=repr(settings.positive))
    return labels.index(settings.positive)


def _note_reading(reading: Reading, train: Documents, counts: Counter[str]) -> list[str]:
    encoded = train.encoded(reading)
    total = max(int(encoded.lengths.sum()), 1)
    kind = "words" if reading.segmenter.kind == "words" else "tokens"
    unknown = f"{encoded.unknown / total:.1%} of the training tokens are unknown"
    notes = [f"{reading.vocabulary.size:,} of {len(counts) + 2:,} {kind} in the vocabulary; {unknown}"]
    cut = int((encoded.lengths == reading.longest).sum())
    if cut:
        notes.append(f"{cut:,} training documents are cut to {reading.longest} tokens (--longest)")
    return notes


def _documents(examples: Any) -> Documents:
    if not isinstance(examples, Documents):
        raise ArgumentError("examples of another task", expected="Documents", got=type(examples).__name__)
    return examples
