"""The task of tagging: a label for every word, such as its part of speech or the entity it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rondeau.data.faults import Faults
from rondeau.data.made.language import demo_sentences
from rondeau.data.prefetch import Prefetch
from rondeau.data.texts.conll import Sentence, kind_of, part_of
from rondeau.data.texts.schemes import bio_forbidden, entities, scheme_of, to_bio
from rondeau.data.texts.tagged import TaggedBatches, TaggedText
from rondeau.data.texts.vectors import read_vectors
from rondeau.errors import ArgumentError, DataError
from rondeau.heads.crf import CRF
from rondeau.insight.results import Metric, Results, Row
from rondeau.models.tagger import SPELLINGS, parts_of, tagger
from rondeau.sequence import Ragged
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.tagging.baselines import MostFrequent, PerWord
from rondeau.tasks.tagging.data import Prepared, divide, inputs, prepare, read_all, read_divided, with_scheme
from rondeau.tasks.tagging.scores import findings, scores
from rondeau.tasks.task import View, Work
from rondeau.training.losses import SparseCategoricalCrossentropy
from rondeau.training.metrics import CRFAccuracy

_SUFFIXES = (
    ".conllu",
    ".conll",
    ".bio",
    ".iob",
    ".iob2",
    ".bioes",
    ".col",
    ".tsv",
    ".txt",
    ".train",
    ".testa",
    ".testb",
)
_LOOKED_AT = 50  # files of a folder
_EVALUATED_AT_ONCE = 64
_WIDTH = 20  # characters of a word
_MANY_WORDS = 20_000


@dataclass(frozen=True)
class TaggingSettings(Settings):
    """What a tagger is asked."""

    column: str | None = option(
        None, "Which column holds the tags: upos (default), xpos, ... of CoNLL-U; else a number (default -1, the last)."
    )
    crf: bool = option(False, "End in a conditional random field: the best sequence of tags, not each tag alone.")
    embedding: int = option(100, "Features of a word.")
    vectors: str | None = option(None, "Word vectors to begin with: a .vec or GloVe text file, .gz too.")
    spelling: str = option("rnn", "How the characters of a word are read.", SPELLINGS)
    spelling_units: int = option(48, "Units of that, in each direction.")
    word_dropout: float = option(0.05, "Share of words that are unknown in training.")
    min_count: int | None = option(None, "Rarer words are unknown. Default: 2, with few words or with vectors 1.")
    class_weight: str = option("none", "Let rare tags count as much as frequent ones.", ("none", "balanced"))
    dropout: float = option(0.4, "Rate before, between and after the recurrent layers.")
    learning_rate: float = option(4e-3, "Of Adam, at the start; it falls along a cosine.")

    def check(self) -> None:
        super().check()
        for name in ("embedding", "spelling_units", "min_count"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(name, expected="1 or more", got=value)
        for name in ("word_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(name, expected="0 or more, below 1", got=getattr(self, name))
        if self.crf and self.class_weight != "none":
            fix = "Leave --crf or --class-weight out"
            raise ArgumentError("class_weight: a CRF judges whole sentences, not tags", got=self.class_weight, fix=fix)
        if self.group is not None:
            fix = "Leave it out: documents are found by # newdoc or -DOCSTART- lines"
            raise ArgumentError("group: tagged sentences have no such column", got=repr(self.group), fix=fix)


class Tagging(Job[TaggingSettings]):
    """A tag for each word of a sentence."""

    name, title, settings, steps = "tagging", "tagging of words", TaggingSettings, "words"
    demo = "parts of speech of a made-up language"
    metrics = (Metric("accuracy", percent=True, digits=4),)
    monitor, monitor_higher = "val_accuracy", True
    entity_metrics = (
        Metric("entity_f1", percent=True, digits=4),
        Metric("entity_precision", percent=True, digits=4),
        Metric("entity_recall", percent=True, digits=4),
        Metric("accuracy", percent=True, digits=4),
    )

    def guess(self, path: Path) -> str | None:
        for file in _candidates(path):
            kind = kind_of(file)
            if kind == "conllu":
                return f"{file.name} has the ten columns of CoNLL-U"
            if kind == "columns":
                return f"{file.name} has a word and its tags on each line, and blank lines between sentences"
        return None

    def demo_settings(self) -> TaggingSettings:
        return TaggingSettings(units=64, embedding=48, spelling_units=24, epochs=8, insight=True)

    # data

    def read(self, settings: TaggingSettings) -> Data:
        faults = Faults(settings.on_error)
        if settings.path is None:
            text = TaggedText(demo_sentences(seed=settings.seed))
            heaps = divide(text, settings.validation, settings.test, settings.seed)
            divided, name = with_scheme(*heaps, []), "a made-up language"
        else:
            shares = settings.validation, settings.test, settings.seed
            divided = read_divided(settings.path, settings.column, *shares, faults)
            name = settings.path
        three = {"train": divided.train, "validation": divided.validation, "test": divided.test}
        for part, held in list(three.items())[1:]:
            divided.notes.extend(_never_seen(divided.train, held, part))
        sizes = {
            "sentences": {part: len(text) for part, text in three.items()},
            "words": {part: text.tokens for part, text in three.items()},
        }
        digest = hashlib.blake2b("".join(text.digest() for text in three.values()).encode(), digest_size=16).hexdigest()
        parts = divided.train, divided.validation, divided.test
        return Data(name, *parts, sizes, digest, faults.to_json(), divided.notes)

    def prepare(self, settings: TaggingSettings, data: Data) -> Prepared:
        width = 0 if settings.spelling == "none" else _WIDTH
        text = _text(data.train)
        few = text.tokens < _MANY_WORDS or settings.vectors is not None
        least = settings.min_count or (1 if few else 2)  # words seen once teach what to do with those never seen
        prepared = prepare(text, scheme_of(one.tags for one in text), least, width)
        if settings.vectors is None:
            return prepared
        faults = Faults(settings.on_error)
        vectors = read_vectors(settings.vectors, prepared.words, settings.seed, faults)
        data.notes.append(f"vectors of {vectors.name}: {vectors.coverage():.1%} of the words have one")
        if faults.total:
            data.notes.append(f"left out of {vectors.name}: {faults.describe()}")
        return replace(prepared, vectors=vectors.table)

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        return Prepared.from_json(data)

    # the model

    def build(self, settings: TaggingSettings, prepared: Prepared, data: Data | None) -> Any:
        s = settings
        return tagger(
            prepared.words.size,
            prepared.characters.size,
            len(prepared.tags),
            width=prepared.width,
            cell=s.cell,
            units=s.units,
            depth=s.layers,
            embedding=s.embedding,
            spelling=s.spelling,
            spelling_units=s.spelling_units,
            dropout=s.dropout,
            word_dropout=s.word_dropout,
            crf=s.crf,
            forbidden=bio_forbidden(prepared.tags) if prepared.scheme else (),
            vectors=prepared.vectors,
        )

    def loss(self, settings: TaggingSettings, prepared: Prepared, data: Data) -> Any:
        return "crf" if settings.crf else SparseCategoricalCrossentropy(from_logits=True)

    def fit_metrics(self, settings: TaggingSettings, prepared: Prepared) -> list[Any]:
        return [CRFAccuracy(name="accuracy") if settings.crf else "accuracy"]

    def batches(self, settings: TaggingSettings, prepared: Prepared, examples: Any, training: bool) -> Prefetch:
        size = settings.batch_size if training else _EVALUATED_AT_ONCE
        text = _text(examples)
        weights = balanced(text, prepared.tags) if training and settings.class_weight == "balanced" else None
        return Prefetch(TaggedBatches(text, prepared.codes, prepared.tags, size, training, weights))

    def count_steps(self, settings: TaggingSettings, prepared: Prepared, examples: Any) -> int:
        return _text(examples).tokens

    def name_of(self, settings: TaggingSettings) -> str:
        end = " and a conditional random field" if settings.crf else ""
        return f"{settings.cell} both ways, {settings.layers} x {settings.units}{end}"

    # answers

    def judge(self, model: Any, settings: TaggingSettings, prepared: Prepared, examples: Any) -> Judged:
        predicted = tags_of(model, prepared, examples)
        bio = prepared.scheme is not None
        found, ends = scores(examples, predicted, bio, settings.seed)
        told = findings(examples, predicted, prepared.tags, prepared.words, bio)
        rows = [
            {"words": list(one.words), "tags": list(one.tags), "predicted": tags, "where": one.place}
            for one, tags in zip(examples, predicted, strict=True)
        ]
        return Judged(found, ends, told, rows)

    def baselines(self, settings: TaggingSettings, prepared: Prepared, data: Data) -> list[Row]:
        rows = []
        for kind in (MostFrequent, PerWord):
            baseline = kind(data.train)
            predicted = [baseline(one.words) for one in data.test]
            found = scores(data.test, predicted, prepared.scheme is not None, settings.seed)
            rows.append(Row(baseline.name, baseline.parameters, *found))
        return rows

    def read_examples(self, settings: TaggingSettings, prepared: Prepared, path: str) -> tuple[Any, list[str]]:
        faults = Faults(settings.on_error)
        text = read_all(path, settings.column, faults)
        if not len(text):
            raise DataError("there are no sentences", where=path)
        if prepared.scheme is not None:
            text = text.relabelled(to_bio)
        notes = [f"left out: {faults.describe()}"] if faults.total else []
        missing = sorted(text.tags() - set(prepared.tags))
        if missing:
            notes.append(f"tags that the training part never had, each counted as wrong: {', '.join(missing)}")
        return text, notes

    def read_inputs(self, settings: TaggingSettings, prepared: Prepared, path: str) -> Iterator[Sentence]:
        return inputs(path)

    def answers(
        self,
        model: Any,
        settings: TaggingSettings,
        prepared: Prepared,
        inputs: list[Sentence],
        options: dict[str, Any],
    ) -> Iterable[dict[str, Any]]:
        text = TaggedText(one._replace(tags=()) for one in inputs)
        for one, tags in zip(inputs, tags_of(model, prepared, text), strict=True):
            record: dict[str, Any] = {"words": list(one.words), "tags": tags}
            if prepared.scheme is not None:
                record["entities"] = [
                    {**entity._asdict(), "text": " ".join(one.words[entity.begin : entity.end])}
                    for entity in entities(tags)
                ]
            yield record

    def explain(self, model: Any, settings: TaggingSettings, prepared: Prepared, example: Sentence) -> Explained | None:
        """Why the word that the model is least sure of got its tag."""
        words = example.words[:LONGEST]
        if not words:
            return None
        of_words, of_sentence = parts_of(model)
        batch = TaggedBatches(TaggedText([Sentence(words)]), prepared.codes, None, 1, training=False).batch(
            np.zeros(1, int)
        )
        with torch.no_grad():
            x = of_words(batch.x).values[None]
            chances = _log_chances(of_sentence(x))[0]
        place = int(chances.amax(1).argmin())
        tag = int(chances[place].argmax())
        steps = [f"{word} " for word in words]
        answer = f"{words[place]}: {prepared.tags[tag]}"
        return Explained(x, steps, answer, place, lambda y: _log_chances(y)[:, place, tag], of_sentence)

    # for entities F1 decides

    def conclude(self, work: Work[TaggingSettings], view: View) -> Results:
        results = self._by_entities(super().conclude(work, view), work.prepared)
        work.run.write_json(work.run.results, results.to_json())
        return results

    def evaluate(self, run: RunFolder, path: str, device: str) -> Results:
        return self._by_entities(super().evaluate(run, path, device), self.opened(run)[1])

    def _by_entities(self, results: Results, prepared: Prepared) -> Results:
        return results if prepared.scheme is None else replace(results, metrics=self.entity_metrics)


def balanced(text: TaggedText, tags: Sequence[str]) -> list[float]:
    """Of each tag the weight by which all that come weigh the same together, and a word weighs 1 on average."""
    found = np.bincount(text.tags_of(np.arange(len(text))), minlength=len(text.labels)).tolist()
    by_name = dict(zip(text.labels, found, strict=True))
    counts = [by_name.get(tag, 0) for tag in tags]
    there = sum(count > 0 for count in counts)
    return [sum(counts) / (there * count) if count else 1.0 for count in counts]


def tags_of(model: Any, prepared: Prepared, examples: Any) -> list[list[str]]:
    """The tags that a tagger gives the words of each sentence: each the likeliest, or with a CRF the best sequence."""
    text = _text(examples)
    outputs = model.predict(TaggedBatches(text, prepared.codes, None, _EVALUATED_AT_ONCE, training=False))
    found: list[list[str]] = []
    for begin in range(0, len(outputs), 512):
        rows = outputs[begin : begin + 512]
        if rows[0].ndim == 3:
            best = CRF.decode(Ragged.from_rows([torch.from_numpy(row) for row in rows])).rows()
            ids = [row.tolist() for row in best]
        else:
            ids = [np.argmax(row, 1).tolist() for row in rows]
        found += [[prepared.tags[i] for i in row] for row in ids]
    return found


def _log_chances(outputs: torch.Tensor) -> torch.Tensor:
    """The log-probability of each tag at each word, `(batch, time, tags)`, of scores or of a `CRF`'s chain."""
    if outputs.ndim == 3:
        return torch.log_softmax(outputs, -1)
    found = [outputs[:, 0, 0]]
    for step in outputs.unbind(1)[1:]:
        found.append(torch.logsumexp(found[-1][:, :, None] + step, 1))
    return torch.stack(found, 1)


def _text(examples: Any) -> TaggedText:
    return examples if isinstance(examples, TaggedText) else TaggedText(examples)


def _never_seen(train: TaggedText, held: TaggedText, part: str) -> list[str]:
    missing = sorted(held.tags() - train.tags())
    return [f"tags of the {part} part that the training part never has: {', '.join(missing)}"] if missing else []


def _candidates(path: Path) -> Iterator[Path]:
    """Files worth a look, those named for a part first."""
    if path.is_file():
        yield path
        return
    names = (file for file in chain(path.glob("*"), path.glob("*/*")) if file.is_file())
    named = [file for _, file in zip(range(_LOOKED_AT), names, strict=False)]
    likely = [f for f in named if f.name.removesuffix(".gz").lower().endswith(_SUFFIXES) and f.name[0] != "."]
    yield from sorted(likely, key=lambda file: (part_of(file.name) != "train", file.name))[:8]
