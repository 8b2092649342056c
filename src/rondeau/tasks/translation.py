"""Translation and any other writing of one sequence after reading another: an encoder and decoder with attention."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rondeau.data.buckets import Buckets
from rondeau.data.dates import dates
from rondeau.data.faults import Faults
from rondeau.data.pairs import Pair, Pairs, has_sides, leaked, looks_like_pairs, read_pairs, read_sources
from rondeau.data.sides import Side
from rondeau.data.splits import split_rows
from rondeau.data.vocabulary import UNKNOWN
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.heads.beam import Hypothesis
from rondeau.insight.results import Metric, Row
from rondeau.models import EncoderDecoder
from rondeau.sequence import Ragged
from rondeau.tasks.dictionary import Dictionary
from rondeau.tasks.job import Data, Job, Judged
from rondeau.tasks.settings import Settings, option
from rondeau.tasks.translation_scores import Scored
from rondeau.training.losses import SparseCategoricalCrossentropy

Ids = NDArray[np.int64]
SHOWN = 4  # sentences whose attention is drawn


@dataclass(frozen=True)
class TranslationSettings(Settings):
    """What a translation is asked."""

    cell: str = option("gru", "The recurrent cell.", ("lstm", "gru", "simple_rnn"))
    units: int = option(256, "Units of encoder and decoder each; the encoder's are halved between its directions.")
    batch_size: int = option(64, "Pairs of a batch.")
    learning_rate: float = option(1e-3, "Of Adam, at the start; it falls along a cosine.")
    source_language: str | None = option(None, "Side to read: a file's suffix (de) or a column's name.")
    target_language: str | None = option(None, "Side to write: a file's suffix (en) or a column's name.")
    encoding: str = option("utf-8", "How the text is written.")
    unit: str = option("words", "What a token is, on both sides.", ("words", "characters", "bpe"))
    lower: bool = option(False, "Turn everything into lower case.")
    min_count: int = option(2, "How often a word must come in the training part to be known.")
    pieces: int = option(8000, "Byte-pair pieces of each side, with --unit bpe.")
    embedding: int = option(256, "Features of a token.")
    attention: str = option("additive", "How the decoder looks at the source.", ("additive", "dot", "none"))
    bidirectional: bool = option(True, "Read the source both ways.")
    tied: bool = option(True, "The answers' weights are the target's embedding.")
    label_smoothing: float = option(0.1, "Share of each target spread over all tokens while training.")
    max_tokens: int = option(100, "Longer pairs are left out of training; nothing longer is written.")
    beam: int = option(5, "Hypotheses kept while writing.")
    length_penalty: float = option(1.0, "How much longer translations are favoured: 0 for not at all.")
    copy_unknown: bool = option(True, "Write the source word looked at most where the answer is a word not known.")

    def check(self) -> None:
        super().check()
        for name in ("min_count", "pieces", "embedding", "max_tokens", "beam"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, expected="1 or more", got=getattr(self, name))
        if not 0 <= self.label_smoothing < 1:
            raise ArgumentError("label_smoothing", expected="0 or more, below 1", got=self.label_smoothing)


@dataclass(frozen=True)
class Prepared:
    """The two sides' tokens, as the training part has them, and the sides' names ("" for none)."""

    source: Side
    target: Side
    names: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source.to_json(), "target": self.target.to_json(), "names": list(self.names)}

    def encode(self, pairs: Iterable[Pair]) -> tuple[list[Ids], list[Ids]]:
        """Both sides of pairs as ids."""
        both = [(self.source.encode(pair.source), self.target.encode(pair.target)) for pair in pairs]
        return [one for one, _ in both], [other for _, other in both]


@dataclass
class PairData(Data):
    """Pairs, and the sides' names."""

    names: tuple[str, str] = ("", "")


class Translation(Job[TranslationSettings]):
    """Pairs of texts -> a model that writes the second after reading the first."""

    name = "translation"
    title = "translation"
    settings = TranslationSettings
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
            found, name = Pairs({"train": dates(settings.seed)}, "spoken", "iso", []), "dates in words"
        else:
            languages = settings.source_language, settings.target_language
            found = read_pairs(settings.path, *languages, faults, settings.encoding)
            name = Path(settings.path).name
        parts, notes = divide(found, settings)
        sizes = {"pairs": {part: len(pairs) for part, pairs in parts.items()}}
        if found.source:
            notes = [f"from {found.source} to {found.target}", *notes]
        names = found.source, found.target
        train, validation, test = (parts[part] for part in ("train", "validation", "test"))
        return PairData(name, train, validation, test, sizes, _digest(parts), faults.to_json(), notes, names)

    def prepare(self, settings: TranslationSettings, data: Data) -> Prepared:
        how = settings.unit, settings.lower, settings.min_count, settings.pieces
        source = Side.learn([pair.source for pair in data.train], *how)
        target = Side.learn([pair.target for pair in data.train], *how)
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
        short = [i for i, lengths in enumerate(map(_lengths, sources, targets)) if max(lengths) <= settings.max_tokens]
        if not short:
            fix = "Raise --max-tokens"
            raise DataError("every pair is too long", expected=f"at most {settings.max_tokens} tokens", fix=fix)
        chosen = [(torch.from_numpy(sources[i]), torch.from_numpy(targets[i])) for i in short]

        def make(rows: Tensor) -> tuple[Ragged, Ragged]:
            some = [chosen[i] for i in rows.tolist()]
            return Ragged.from_rows([one for one, _ in some]), Ragged.from_rows([other for _, other in some])

        lengths = np.asarray([[len(one), len(other)] for one, other in chosen], np.int64)
        return Buckets(lengths[:, ::-1].copy(), make, settings.batch_size, shuffle=training)

    def count_steps(self, settings: TranslationSettings, prepared: Prepared, examples: Any) -> int:
        lengths = [_lengths(*both) for both in zip(*prepared.encode(examples), strict=True)]
        return sum(target + 1 for source, target in lengths if max(source, target) <= settings.max_tokens)

    # judging

    def judge(self, model: Any, settings: TranslationSettings, prepared: Prepared, examples: Any) -> Judged:
        sources, targets = prepared.encode(examples)
        written = write(model, settings, prepared, sources, [pair.source for pair in examples])
        order = _by_length(sources)
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
        part = "test" if "test" in found.parts else next(iter(found.parts))
        notes = [*found.notes, *([f"the {part} part of {path}"] if len(found.parts) > 1 else [])]
        return found.parts[part], [*notes, *([f"left out: {faults.describe()}"] if faults.total else [])]

    def read_inputs(self, settings: TranslationSettings, prepared: Prepared, path: str) -> Iterator[str]:
        if path == "-":
            return (line.rstrip("\r\n") for line in sys.stdin)
        return read_sources(path, prepared.names[0], settings.encoding)

    def answers(
        self,
        model: Any,
        settings: TranslationSettings,
        prepared: Prepared,
        inputs: list[Any],
        options: Mapping[str, Any],
    ) -> Iterable[dict[str, Any]]:
        asked = {name: options[name] for name in ("beam", "length_penalty") if options.get(name) is not None}
        written = write(
            model, replace(settings, **asked), prepared, [prepared.source.encode(i) for i in inputs], inputs
        )
        for text, one in zip(inputs, written, strict=True):
            yield {"source": text, "translation": one["translation"], "log_probability": one["log_probability"]}


def divide(found: Pairs, settings: TranslationSettings) -> tuple[dict[str, list[Pair]], list[str]]:
    """The three parts: the files' own, and what they lack drawn from the training part; and what was noticed.

    Pairs of one source stay together. Where the files' own parts share pairs, the training part gives them up.
    """
    parts, notes = dict(found.parts), list(found.notes)
    for name, twice in leaked(parts).items():
        if twice:
            here = f"{len(twice):,} pairs of the {name} part stand in the training part too"
            notes.append(f"{here} (such as {twice[0].where}); they were left out of training")
            gone = {(pair.source, pair.target) for pair in twice}
            parts["train"] = [pair for pair in parts["train"] if (pair.source, pair.target) not in gone]
    shares = {name: getattr(settings, name) for name in ("validation", "test") if not parts.get(name)}
    if shares:
        pairs = parts["train"]
        drawn = split_rows(
            [pair.source for pair in pairs], **{"validation": 0, "test": 0, **shares}, seed=settings.seed
        )
        for name in ("train", *shares):
            parts[name] = [pairs[i] for i in getattr(drawn, name).tolist()]
        shown = " and ".join(f"{share:.0%} for {name}" for name, share in shares.items())
        notes.append(f"held out: {shown}; pairs of one source stay together")
    if not parts["train"]:
        raise DataError("nothing is left to train on", fix="Give other pairs for training than for testing")
    return {name: parts[name] for name in ("train", "validation", "test")}, notes


def write(
    model: Any, settings: TranslationSettings, prepared: Prepared, sources: Sequence[Ids], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Each source's best translation: `translation`, its `ids`, and their `log_probability`; of nothing, nothing."""
    order = [i for i in _by_length(sources) if len(sources[i])]
    given = [sources[i].tolist() for i in order]
    found = [Hypothesis([], 0.0, 0.0, ended=True)] * len(sources)
    if order:
        hypotheses = model.hypotheses(given, settings.beam, settings.length_penalty, settings.max_tokens)
        for i, (best, *_) in zip(order, hypotheses, strict=True):
            found[i] = best
    unknown = [
        i for i in order if settings.copy_unknown and settings.attention != "none" and UNKNOWN in found[i].tokens
    ]
    looked = (
        model.attention_weights([sources[i].tolist() for i in unknown], [found[i].tokens for i in unknown])
        if unknown
        else []
    )
    weights = dict(zip(unknown, looked, strict=True))
    written = []
    for i, best in enumerate(found):
        tokens = prepared.target.decode(best.tokens)
        if i in weights:
            words = prepared.source.segmenter.split(texts[i])
            places = weights[i].argmax(1).tolist()
            tokens = [words[at] if id == UNKNOWN else t for t, id, at in zip(tokens, best.tokens, places, strict=False)]
        text = prepared.target.segmenter.join(tokens)
        written.append({"translation": text, "ids": best.tokens, "log_probability": best.log_probability})
    return written


def looks(
    model: Any, prepared: Prepared, sources: Sequence[Ids], written: Sequence[Sequence[int]]
) -> list[dict[str, Any]]:
    """Where the words of some translations looked, as the report draws it: the first ones of middling length."""
    fits = [i for i, ids in enumerate(written) if 5 <= len(sources[i]) <= 32 and 3 <= len(ids) <= 32]
    chosen = (fits or [i for i, ids in enumerate(written) if len(sources[i]) and len(ids)])[:SHOWN]
    if not chosen:
        return []
    weights = model.attention_weights([sources[i].tolist() for i in chosen], [list(written[i]) for i in chosen])
    return [
        {
            "source": prepared.source.decode(sources[i]),
            "target": [*prepared.target.decode(written[i]), "(end)"],
            "weights": [[round(value, 4) for value in row] for row in found.tolist()],
        }
        for i, found in zip(chosen, weights, strict=True)
    ]


def _lengths(source: Ids, target: Ids) -> tuple[int, int]:
    return len(source), len(target)


def _by_length(sources: Sequence[Ids]) -> list[int]:
    return sorted(range(len(sources)), key=lambda i: len(sources[i]))


def _lists(sides: Sequence[Ids]) -> list[list[int]]:
    return [ids.tolist() for ids in sides]


def _digest(parts: Mapping[str, Sequence[Pair]]) -> str:
    digest = hashlib.sha256()
    for name, pairs in parts.items():
        digest.update(f"{name} {len(pairs)}\n".encode())
        for pair in pairs:
            digest.update(f"{pair.source}\t{pair.target}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
