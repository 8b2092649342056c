"""Translation and any other writing of one sequence after reading another: an encoder and decoder with attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.faults import Faults
from rondeau.data.made.dates import dates
from rondeau.data.standard_input import NAME, first_line, standard_input, table_of_texts
from rondeau.data.texts.pair_layouts import has_sides, looks_like_pairs
from rondeau.data.texts.pairs import Pair, Pairs, PairStore, read_pairs, read_sources
from rondeau.data.texts.sides import Side
from rondeau.data.texts.text_lines import checked_encoding, decoded_lines
from rondeau.errors import CheckpointError, DataError
from rondeau.insight.results import Metric, Row
from rondeau.models import EncoderDecoder
from rondeau.sequence import Ragged
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.look import LONGEST, Explained
from rondeau.tasks.translation.data import (
    Ids,
    PairData,
    Prepared,
    TranslationAsking,
    TranslationSettings,
    digest_of,
    divide,
)
from rondeau.tasks.translation.dictionary import Dictionary
from rondeau.tasks.translation.explaining import least_sure
from rondeau.tasks.translation.scores import Scored
from rondeau.tasks.translation.writing import by_length, looks, write
from rondeau.training.losses import SparseCategoricalCrossentropy


class Translation(Job[TranslationSettings]):
    """Pairs of texts -> a model that writes the second after reading the first."""

    name = "translation"
    title = "translation"
    demo = "dates in words into dates in figures"
    settings = TranslationSettings
    asking = TranslationAsking
    extra = "text"
    steps = "tokens"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("bleu", digits=2),
        Metric("chrf", digits=2),
        Metric("bleu_13a", digits=2),
        Metric("exact_match", percent=True),
        Metric("perplexity", higher=False, digits=2),
    )

    def guess(self, path: Path) -> str | None:
        return looks_like_pairs(path)

    def demo_settings(self) -> TranslationSettings:
        return TranslationSettings(
            unit="characters",
            lower=True,
            min_count=1,
            units=64,
            embedding=32,
            dropout=0.1,
            label_smoothing=0.0,
            learning_rate=5e-3,
            epochs=8,
        )

    # data

    def read(self, settings: TranslationSettings) -> PairData:
        faults = Faults(settings.on_error)
        if settings.path is None:
            found, name = Pairs({"train": PairStore(dates(settings.seed))}, "spoken", "iso", []), "dates in words"
        else:
            languages = settings.source_language, settings.target_language
            found = read_pairs(settings.path, *languages, faults, settings.encoding, group=settings.group)
            name = Path(settings.path).name
        parts, notes = divide(found, settings)
        sizes = {"pairs": {part: len(pairs) for part, pairs in parts.items()}}
        if found.source:
            notes = [f"from {found.source} to {found.target}", *notes]
        names = found.source, found.target
        train, validation, test = (parts[part] for part in ("train", "validation", "test"))
        return PairData(name, train, validation, test, sizes, digest_of(parts), faults.to_json(), notes, names)

    def prepare(self, settings: TranslationSettings, data: Data) -> Prepared:
        how = settings.unit, settings.lower, settings.min_count, settings.pieces
        source = Side.learn(data.train.texts("source"), *how)
        target = Side.learn(data.train.texts("target"), *how)
        return Prepared(source, target, data.names if isinstance(data, PairData) else ("", ""))

    def load_prepared(self, data: dict[str, Any]) -> Prepared:
        try:
            names = str(data["names"][0]), str(data["names"][1])
            return Prepared(Side.from_json(data["source"]), Side.from_json(data["target"]), names)
        except (KeyError, IndexError, TypeError) as error:
            raise CheckpointError("the preparation of a translation is damaged", got=repr(error)) from error

    # the model

    def build(self, settings: TranslationSettings, prepared: Prepared, data: Data | None) -> EncoderDecoder:
        return EncoderDecoder(
            prepared.source.vocabulary.size,
            prepared.target.vocabulary.size,
            settings.units,
            settings.embedding,
            settings.cell,
            settings.layers,
            settings.bidirectional,
            None if settings.attention == "none" else settings.attention,
            settings.dropout,
            deep_output=True,
            tied=settings.tied,
        )

    def loss(self, settings: TranslationSettings, prepared: Prepared, data: Data) -> SparseCategoricalCrossentropy:
        return SparseCategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)

    def batches(self, settings: TranslationSettings, prepared: Prepared, examples: Any, training: bool) -> Any:
        sources, targets = prepared.encode(examples)
        short = np.flatnonzero(np.maximum(sources.lengths, targets.lengths) <= settings.max_tokens)
        if not len(short):
            fix = "Raise --max-tokens"
            raise DataError("every pair is too long", expected=f"at most {settings.max_tokens} tokens", fix=fix)

        def make(rows: Tensor) -> tuple[Ragged, Ragged]:
            some = short[rows.numpy()].tolist()
            return sources.batch(some), targets.batch(some)

        lengths = np.stack([targets.lengths[short], sources.lengths[short]], 1)
        return Buckets(lengths, make, settings.batch_size, shuffle=training)

    def count_steps(self, settings: TranslationSettings, prepared: Prepared, examples: Any) -> int:
        sources, targets = (side.lengths for side in prepared.encode(examples))
        return int((targets + 1)[np.maximum(sources, targets) <= settings.max_tokens].sum())

    # judging

    def judge(self, model: Any, settings: TranslationSettings, prepared: Prepared, examples: Any) -> Judged:
        sources, targets = prepared.encode(examples)
        written = write(model, settings, prepared, sources, [pair.source for pair in examples])
        order = by_length(sources)
        sorted_logs = model.log_probability(*([side[i] for i in order] for side in (_lists(sources), _lists(targets))))
        logs = np.empty(len(order))
        logs[order] = sorted_logs.cpu().double().numpy()
        texts = [one["translation"] for one in written]
        references = [pair.target for pair in examples]
        scored = Scored(texts, references, logs.tolist(), [len(t) + 1 for t in targets], settings.lower)
        rows = [
            {"source": pair.source, "reference": pair.target, "translation": text}
            for pair, text in zip(examples, texts, strict=True)
        ]
        findings: dict[str, Any] = {
            "examples": rows[:: max(1, len(rows) // 8)][:8],
            "by_group": scored.by_length([len(source) for source in sources]),
        }
        if settings.attention != "none":
            findings["attention"] = looks(model, prepared, sources, [one["ids"] for one in written])
        return Judged(scored.figures(), scored.intervals(), findings, rows)

    def baselines(self, settings: TranslationSettings, prepared: Prepared, data: Data) -> list[Row]:
        references = [pair.target for pair in data.test]
        copied = Scored([pair.source for pair in data.test], references, lower=settings.lower)
        rows = [Row("the source as it is", 0, copied.figures(), copied.intervals())]
        if settings.unit == "words":
            dictionary = Dictionary(*prepared.encode(data.train))
            side = prepared.target
            written = [
                side.segmenter.join(side.decode(dictionary.translate(prepared.source.encode(pair.source))))
                for pair in data.test
            ]
            scored = Scored(written, references, lower=settings.lower)
            name = "word by word, a learnt dictionary (model 1)"
            rows.append(Row(name, dictionary.parameters, scored.figures(), scored.intervals()))
        return rows

    def name_of(self, settings: TranslationSettings) -> str:
        looks_back = "" if settings.attention == "none" else f" with {settings.attention} attention"
        return f"{settings.cell}, {settings.layers} x {settings.units}{looks_back}, beam {settings.beam}"

    # other data

    def read_examples(
        self, settings: TranslationSettings, prepared: Prepared, path: str
    ) -> tuple[Sequence[Pair], list[str]]:
        faults = Faults(settings.on_error)
        source, target = (name or None for name in prepared.names)
        if source is not None and not has_sides(path, prepared.names, settings.encoding):
            source = target = None  # lines with a tab, whose sides have no names
        found = read_pairs(path, source, target, faults, settings.encoding, training=False)
        part = next(name for name in ("test", "validation", "train") if found.parts.get(name))
        notes = [*found.notes, *([f"the {part} part of {path}"] if len(found.parts) > 1 else [])]
        return found.parts[part], [*notes, *([f"left out: {faults.describe()}"] if faults.total else [])]

    def read_inputs(self, settings: TranslationSettings, prepared: Prepared, path: str) -> Iterator[str]:
        if path != "-":
            yield from read_sources(path, prepared.names[0], settings.encoding)
            return
        first, lines = first_line()
        start = first.decode(checked_encoding(settings.encoding), "replace")
        suffix = table_of_texts(start, prepared.names[0] or None) or (".txt" if "\t" in start else None)
        if suffix is None:
            faults = Faults(settings.on_error)
            yield from (line.rstrip("\r\n") for _, line in decoded_lines(lines, NAME, settings.encoding, faults))
            return
        with standard_input(first, suffix) as file:
            yield from read_sources(file, prepared.names[0], settings.encoding)

    def explain(
        self, model: Any, settings: TranslationSettings, prepared: Prepared, example: Pair | str
    ) -> Explained | None:
        """Why the word of the translation that the model is least sure of was written."""
        text = example if isinstance(example, str) else example.source
        source = prepared.source.encode(text)[:LONGEST]
        written = write(model, replace(settings, copy_unknown=False), prepared, [source], [text])[0]["ids"]
        words = prepared.source.decode(source.tolist())
        return least_sure(model, prepared, source, words, written, settings.attention != "none")

    def answering(
        self, settings: TranslationSettings, prepared: Prepared, options: dict[str, Any]
    ) -> tuple[TranslationSettings, Prepared]:
        return replace(settings, **options), prepared

    def answers(
        self,
        model: Any,
        settings: TranslationSettings,
        prepared: Prepared,
        inputs: list[Any],
        options: Mapping[str, Any],
    ) -> Iterable[dict[str, Any]]:
        written = write(model, settings, prepared, [prepared.source.encode(text) for text in inputs], inputs)
        for text, one in zip(inputs, written, strict=True):
            yield {"source": text, "translation": one["translation"], "log_probability": one["log_probability"]}


def _lists(sides: Sequence[Ids]) -> list[list[int]]:
    return [ids.tolist() for ids in sides]
