"""What is learnt from the training part before the model is: tokens, vocabulary, vectors, classes and their weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rondeau.data.faults import Faults
from rondeau.data.progress import progress
from rondeau.data.texts.layouts import Columns
from rondeau.data.texts.segment import Segmenter
from rondeau.data.texts.vectors import Vectors, read_vectors
from rondeau.data.texts.vocabulary import Vocabulary
from rondeau.errors import ArgumentError
from rondeau.tasks.texts.examples import Documents, Reading
from rondeau.tasks.texts.leaks import remember, telling_words
from rondeau.tasks.texts.prepared import Prepared, sort_labels
from rondeau.tasks.texts.settings import TextClassificationSettings

MANY_DOCUMENTS = 1000
"""From this many training documents on, words that come once are not learnt."""


def prepare(
    settings: TextClassificationSettings, train: Documents, columns: Columns | None
) -> tuple[Prepared, list[str]]:
    """What is learnt from the training documents alone, and notes in words.

    Raises `ArgumentError` for a positive class that is none, `DataError` for vectors that do not fit.
    """
    reading, counts = _read(settings, train)
    labels = sort_labels({str(train.store.labels[row]) for row in train.rows.tolist()})
    prepared = Prepared(
        reading,
        labels,
        columns=None if columns is None else (columns.text, columns.label),
        learnt=len(train),
        seen=remember((document.text for document in train), len(train)),
    )
    y, _ = prepared.classes(train)
    weights = None
    if settings.class_weight == "balanced":
        weights = (len(y) / (len(labels) * np.bincount(y, minlength=len(labels)))).tolist()
    notes = _note_reading(reading, train, counts)
    notes += [
        f"the word {word!r} tells {label!r} from all others by itself: does the answer stand in the texts?"
        for word, label in telling_words(train.encoded(reading), y, labels, reading.vocabulary)[:3]
    ]
    vectors = None if settings.vectors is None else _given_vectors(settings, reading.vocabulary, counts, notes)
    return replace(prepared, positive=_positive(settings, labels, y), weights=weights, vectors=vectors), notes


def _read(settings: TextClassificationSettings, train: Documents) -> tuple[Reading, Counter[str]]:
    """How texts become ids, and how often each token comes."""
    mixed = np.random.default_rng(settings.seed).permutation(len(train))
    texts = (train[i].text for i in mixed.tolist())
    segmenter = Segmenter.train(texts, settings.tokens, settings.lower, settings.vocabulary)
    least = settings.min_count
    if least is None:
        plain = settings.tokens == "words" and settings.vectors is None and len(train) >= MANY_DOCUMENTS
        least = 2 if plain else 1
    counts: Counter[str] = Counter()
    for document in progress(train, "counting words", unit="documents"):
        counts.update(segmenter.split(document.text))
    if segmenter.pieces is not None:  # all of them, so that no text has an unknown one
        counts.update(dict.fromkeys(segmenter.pieces.to_json()["tokens"], 0))
        least = 0
    vocabulary = Vocabulary.from_counts(counts, least, settings.vocabulary + 2)
    return Reading(segmenter, vocabulary, settings.longest), counts


def _given_vectors(
    settings: TextClassificationSettings, vocabulary: Vocabulary, counts: Counter[str], notes: list[str]
) -> Vectors:
    faults = Faults(settings.on_error)
    vectors = read_vectors(str(settings.vectors), vocabulary, settings.seed, faults)
    share = vectors.coverage([counts[token] for token in vocabulary.tokens])
    found = f"{vectors.coverage():.1%} of the words, {share:.1%} of the training tokens"
    notes.append(f"vectors from {vectors.name}: {vectors.table.shape[1]} features, for {found}")
    if faults.total:
        notes.append(f"vectors left out: {faults.describe()}")
    return vectors


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
